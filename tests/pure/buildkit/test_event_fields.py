"""Read fields of events, of any type."""

from __future__ import annotations

import pytest

from stagebake.buildkit.event_fields import (
    read_bytes,
    read_count,
    read_items,
    read_seconds,
    text_field,
    timestamp_seconds,
)

OTHER_TYPES = [{}, {"a": None}, {"a": [1]}, {"a": {"b": 1}}, {"a": 1.5}]


@pytest.mark.parametrize("event", OTHER_TYPES)
def test_fields_of_another_type_count_as_missing(event: dict[str, object]) -> None:
    assert (read_count(event, "a"), read_seconds(event, "a"), list(read_items(event, "a"))) == (0, None, [])


def test_fields_of_their_type_are_returned() -> None:
    assert text_field({"a": "b"}, "a") == "b"
    assert read_count({"a": 7}, "a") == 7
    assert list(read_items({"a": [{"b": 1}, 2, None, {}]}, "a")) == [{"b": 1}, {}]
    assert read_bytes({"a": "aGk="}, "a") == b"hi"
    assert read_bytes({"a": "h"}, "a") == b""
    assert text_field({"a": 1}, "a") == ""
    assert read_seconds({"a": "1970-01-01T00:00:01.5Z"}, "a") == 1.5


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:01.12345Z", 1.12345),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T02:00:01+02:00", 1),
    ],
)
def test_timestamp_seconds_go_timestamps_are_parsed(timestamp: str, expected: float) -> None:
    assert timestamp_seconds(timestamp) == pytest.approx(expected)
