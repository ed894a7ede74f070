"""Collect the layers that BuildKit pulled and unpacked."""

from __future__ import annotations

from typing import Any

import pytest

from stagebake.buildkit.layer_pulls import LayerPull, PullLog

BLOB = "sha256:" + "a" * 64
START, MIDDLE, END = (f"1970-01-01T00:00:0{second}Z" for second in (1, 3, 4))


def read_events(*events: dict[str, Any]) -> PullLog:
    log = PullLog()
    for event in events:
        log.read_status(event, "[base 1/1] RUN x")
    return log


def test_pulls_download_and_unpacking_of_a_layer_are_one_pull() -> None:
    log = read_events(
        {"id": BLOB, "current": 10, "started": START},
        {"id": BLOB, "current": 90, "started": START, "completed": MIDDLE},
        {"id": f"extracting {BLOB}", "current": 0, "started": MIDDLE},
        {"id": f"extracting {BLOB}", "current": 0, "started": MIDDLE, "completed": END},
    )
    intervals = ((1.0, 3.0), (3.0, 4.0))
    pull = LayerPull(blob=BLOB, vertex="[base 1/1] RUN x", bytes=90, unpacked=True, intervals=intervals)
    assert (log.pulls(), log.bytes) == ((pull,), 90)


def test_pulls_layer_that_is_only_unpacked_was_on_the_machine() -> None:
    assert read_events({"id": f"extracting {BLOB}", "started": START, "completed": END}).pulls() == ()


@pytest.mark.parametrize("identity", ["transferring context:", "sha256:abc", "exporting layers", f"pushing {BLOB}"])
def test_pulls_other_statuses_are_left_out(identity: str) -> None:
    assert read_events({"id": identity, "current": 5, "started": START}).pulls() == ()
