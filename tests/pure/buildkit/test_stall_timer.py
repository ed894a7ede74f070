"""Give up a bake call only when it waits for a registry alone, and nothing has come for long enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stagebake.buildkit.events import Trace
from stagebake.buildkit.stall_timer import Stall, StallTimer

BLOB = "sha256:" + "a" * 64
PATIENCE = {"read": 60.0, "write": 600.0}
IMPORT = "importing cache manifest from host/name@sha256:1"
EXPORT = "exporting to image"
STEP = "[app 2/3] RUN make"
STARTED = "2026-01-01T10:00:00Z"
COMPLETED = "2026-01-01T10:00:01Z"


class Call:
    """Bake call with a clock that the test sets."""

    def __init__(self, *, strict: bool = False, suspect: bool = False) -> None:
        self.now = 0.0
        self.trace = Trace()
        self.stall_timer = StallTimer(PATIENCE, strict=strict, suspect=suspect, clock=lambda: self.now)

    def feed_vertex(self, name: str, **fields: Any) -> None:
        self._feed_event(vertexes=[{"digest": name, "name": name, "started": STARTED} | fields])

    def feed_status(self, name: str, vertex: str, **fields: Any) -> None:
        self._feed_event(statuses=[{"id": name, "vertex": vertex} | fields])

    def gives_up_after(self, seconds: float) -> bool:
        """Tell whether the timer is overdue within a second after this many seconds, and not before."""
        start = self.now
        self.now = start + seconds - 1
        early = self.stall_timer.is_overdue()
        self.now = start + seconds + 1
        return not early and self.stall_timer.is_overdue()

    def _feed_event(self, **event: Any) -> None:
        self.trace.feed_line(json.dumps(event))
        self.stall_timer.observe_trace(self.trace)


def test_stall_timer_import_without_progress_stalls_on_read() -> None:
    call = Call()
    call.feed_vertex(IMPORT)
    assert call.gives_up_after(60)
    assert call.stall_timer.stall is Stall.READ


def test_stall_timer_layer_that_repeats_its_bytes_stalls() -> None:
    """BuildKit repeats the same count of bytes all the time; only more bytes are progress."""
    call = Call()
    call.feed_vertex(STEP, cached=True)
    call.feed_status(BLOB, STEP, current=10)
    call.now = 59
    call.feed_status(BLOB, STEP, current=11)
    for call.now in range(59, 119):
        call.feed_status(BLOB, STEP, current=11)
        assert not call.stall_timer.is_overdue()
    call.now = 120
    assert call.stall_timer.is_overdue()


def test_stall_timer_upload_without_end_stalls_on_write() -> None:
    """BuildKit reports only the end of an upload, so the patience is longer."""
    call = Call()
    call.feed_vertex(EXPORT)
    call.feed_status("pushing layers", EXPORT)
    assert call.gives_up_after(600)
    assert call.stall_timer.stall is Stall.WRITE


@pytest.mark.parametrize("other", ["step", "unpacking", "compressing"])
def test_stall_timer_engine_at_work_is_never_overdue(other: str) -> None:
    """Steps may run for an hour, and unpacking or compressing a layer needs no registry."""
    call = Call()
    call.feed_vertex(STEP)
    if other == "step":
        call.feed_vertex(IMPORT)
    elif other == "unpacking":
        call.feed_status(BLOB, STEP, current=1)
        call.feed_status(f"extracting {BLOB}", STEP)
    else:
        call.feed_vertex(STEP, completed=COMPLETED)
        call.feed_vertex(EXPORT)
        call.feed_status("exporting layers", EXPORT)
    call.now = 100_000
    assert not call.stall_timer.is_overdue()


def test_trace_completed_transfers_are_not_waited_for() -> None:
    """Complete a layer and an upload, and fail a step together with its layer."""
    call = Call()
    call.feed_vertex(STEP, cached=True)
    call.feed_status(BLOB, STEP, current=10, completed=COMPLETED)
    call.feed_vertex(EXPORT)
    call.feed_status("pushing layers", EXPORT, completed=COMPLETED)
    other = BLOB.replace("a", "b")
    call.feed_vertex("[app 1/3] COPY a b", cached=True)
    call.feed_status(other, "[app 1/3] COPY a b", current=1)
    call.feed_vertex("[app 1/3] COPY a b", completed="2026-01-01T10:00:02Z", error="404")
    assert not call.trace.is_downloading
    assert not call.trace.is_uploading


def test_stall_timer_refused_import_ends_strict_call_at_once() -> None:
    """BuildKit continues without the cache where the call is not strict."""
    for strict in (True, False):
        call = Call(strict=strict)
        call.feed_vertex(IMPORT, completed=COMPLETED, error="503")
        assert call.stall_timer.is_overdue() == strict
        assert call.stall_timer.stall is (Stall.IMPORT if strict else None)


@pytest.mark.parametrize(("suspect", "seconds"), [(False, 600), (True, 60)])
def test_stall_timer_idle_engine_stalls(suspect: bool, seconds: float) -> None:
    """Another build may have to end before a step starts, so wait longer unless an import has just stalled."""
    call = Call(suspect=suspect)
    call.trace.feed_line(json.dumps({"vertexes": [{"digest": STEP, "name": STEP}]}))
    call.stall_timer.observe_trace(call.trace)
    assert call.gives_up_after(seconds)
    assert call.stall_timer.stall is Stall.IDLE


@pytest.mark.parametrize(
    "name",
    [
        "[internal] load metadata for docker.io/library/debian:latest",
        "resolve image config for docker-image://docker.io/docker/dockerfile:1",
        "[auth] library/debian:pull token for registry-1.docker.io",
    ],
)
def test_stall_timer_request_without_answer_stalls_on_read(name: str) -> None:
    """BuildKit reports no bytes for such a request; it stalls like a download."""
    call = Call()
    call.feed_vertex(name)
    assert call.gives_up_after(60)
    assert call.stall_timer.stall is Stall.READ


def test_stall_timer_silent_push_of_buildkit_028_is_no_idle_engine() -> None:
    """Feed a recorded call up to the end of the export: what follows is a push of which BuildKit 0.28 says nothing."""
    call = Call(suspect=True)
    for line in (Path(__file__).parent / "recorded" / "0.28-ship.jsonl").read_text(encoding="utf-8").splitlines():
        call.trace.feed_line(line)
        call.stall_timer.observe_trace(call.trace)
    assert call.gives_up_after(600)
    assert call.stall_timer.stall is Stall.WRITE
