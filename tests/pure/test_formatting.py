"""Format sizes, times and text for people."""

from __future__ import annotations

import pytest

from stagebake.formatting import (
    did_you_mean,
    find_similar_name,
    format_age,
    format_seconds,
    format_size,
    json_document,
    make_printable,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_234, "1.2 kB"),
        (999_949, "999.9 kB"),
        (999_999, "1.0 MB"),
        (1_000_000, "1.0 MB"),
        (2_500_000, "2.5 MB"),
        (1_000_000_000, "1.0 GB"),
        (2_340_000_000_000, "2340.0 GB"),
    ],
)
def test_format_size_gives_a_readable_unit(count: int, text: str) -> None:
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3725.9, "62 min 5 s")]
)
def test_format_seconds_from_one_minute_on_gives_minutes(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_make_printable_control_characters_gives_one_line() -> None:
    assert make_printable("a\n b\x1b[1m\tc") == "a b�[1m c"


@pytest.mark.parametrize(("name", "similar"), [("bulider", "builder"), ("builder", "builder"), ("nginx", None)])
def test_find_similar_name_returns_name_above_cutoff(name: str, similar: str | None) -> None:
    assert find_similar_name(name, ("base", "builder"), cutoff=0.75) == similar


@pytest.mark.parametrize(("name", "hint"), [("bulider", "did you mean `builder`? "), ("nginx", "")])
def test_did_you_mean_similar_name_gives_question(name: str, hint: str) -> None:
    assert did_you_mean(name, ("base", "builder")) == hint


def test_json_document_is_indented_and_ends_with_a_newline() -> None:
    assert json_document({"stages": [1], "seconds": None}) == '{\n  "stages": [\n    1\n  ],\n  "seconds": null\n}\n'


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "now"), (59, "now"), (60, "1 minute"), (7200, "2 hours"), (86_400, "1 day"), (40 * 86_400, "40 days")],
)
def test_format_age_is_in_the_largest_unit(seconds: float, words: str) -> None:
    assert format_age(seconds) == words
