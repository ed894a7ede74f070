"""When a bake call is given up: only when it waits for nothing but a registry, and nothing has come for long enough."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stagebake.build.events import Trace
from stagebake.build.stall_timer import StallTimer

BLOB = "sha256:" + "a" * 64
PATIENCE = {"read": 60.0, "write": 600.0}
IMPORT = "importing cache manifest from host/name@sha256:1"
EXPORT = "exporting to image"
STEP = "[app 2/3] RUN make"


class Call:
    """A bake call whose time is told by hand."""

    def __init__(self, *, strict: bool = False, suspect: bool = False) -> None:
        self.now = 0.0
        self.trace = Trace()
        self.stall_timer = StallTimer(PATIENCE, strict=strict, suspect=suspect, clock=lambda: self.now)

    def vertex(self, name: str, **more: Any) -> None:
        self._feed(vertexes=[{"digest": name, "name": name, "started": "2026-01-01T10:00:00Z"} | more])

    def status(self, name: str, vertex: str, **more: Any) -> None:
        self._feed(statuses=[{"id": name, "vertex": vertex} | more])

    def gives_up_after(self, seconds: float) -> bool:
        """Whether it does so within a second after this many, and not before."""
        start, self.now = self.now, self.now + seconds - 1
        early = self.stall_timer.overdue()
        self.now = start + seconds + 1
        return not early and self.stall_timer.overdue()

    def _feed(self, **event: Any) -> None:
        self.trace.feed_line(json.dumps(event))
        self.stall_timer.observe_trace(self.trace)


def test_an_import_that_stalls() -> None:
    """The cache's manifest does not come."""
    call = Call()
    call.vertex(IMPORT)
    assert call.gives_up_after(60)
    assert call.stall_timer.gave_up == "read"


def test_a_layer_that_stalls() -> None:
    """BuildKit repeats the same count of bytes all the time; that is no progress, a byte more is."""
    call = Call()
    call.vertex(STEP, cached=True)
    call.status(BLOB, STEP, current=10)
    call.now = 59
    call.status(BLOB, STEP, current=11)
    for call.now in range(59, 119):
        call.status(BLOB, STEP, current=11)
        assert not call.stall_timer.overdue()
    call.now = 120
    assert call.stall_timer.overdue()


def test_an_upload_that_stalls() -> None:
    """Of an upload BuildKit tells the end only, so there is more patience."""
    call = Call()
    call.vertex(EXPORT)
    call.status("pushing layers", EXPORT)
    assert call.gives_up_after(600)
    assert call.stall_timer.gave_up == "write"


@pytest.mark.parametrize("other", ["step", "unpacking", "compressing"])
def test_what_the_engine_does_by_itself_may_be_silent(other: str) -> None:
    """A step that runs for an hour, a layer that is unpacked or compressed: nobody waits for a registry alone."""
    call = Call()
    call.vertex(STEP)
    if other == "step":
        call.vertex(IMPORT)
    elif other == "unpacking":
        call.status(BLOB, STEP, current=1)
        call.status(f"extracting {BLOB}", STEP)
    else:
        call.vertex(STEP, completed="2026-01-01T10:00:01Z")
        call.vertex(EXPORT)
        call.status("exporting layers", EXPORT)
    call.now = 100_000
    assert not call.stall_timer.overdue()


def test_what_has_ended_is_not_waited_for() -> None:
    """A layer that came, an upload that ended, a step that was given up with its layer."""
    call = Call()
    call.vertex(STEP, cached=True)
    call.status(BLOB, STEP, current=10, completed="2026-01-01T10:00:01Z")
    call.vertex(EXPORT)
    call.status("pushing layers", EXPORT, completed="2026-01-01T10:00:01Z")
    other = BLOB.replace("a", "b")
    call.vertex("[app 1/3] COPY a b", cached=True)
    call.status(other, "[app 1/3] COPY a b", current=1)
    call.vertex("[app 1/3] COPY a b", completed="2026-01-01T10:00:02Z", error="404")
    assert not call.trace.is_downloading
    assert not call.trace.is_uploading


def test_a_cache_that_is_refused() -> None:
    """A strict watch gives up at once, another one lets BuildKit build on without."""
    for strict in (True, False):
        call = Call(strict=strict)
        call.vertex(IMPORT, completed="2026-01-01T10:00:01Z", error="503")
        assert call.stall_timer.overdue() == strict
        assert call.stall_timer.gave_up == ("import" if strict else None)


@pytest.mark.parametrize(("suspect", "seconds"), [(False, 600), (True, 60)])
def test_an_engine_that_does_nothing(suspect: bool, seconds: float) -> None:
    """A step that is named and not begun: another build may have to end first, unless an import has just stalled."""
    call = Call(suspect=suspect)
    call.trace.feed_line(json.dumps({"vertexes": [{"digest": STEP, "name": STEP}]}))
    call.stall_timer.observe_trace(call.trace)
    assert call.gives_up_after(seconds)
    assert call.stall_timer.gave_up == "idle"


@pytest.mark.parametrize(
    "name",
    [
        "[internal] load metadata for docker.io/library/debian:latest",
        "resolve image config for docker-image://docker.io/docker/dockerfile:1",
        "[auth] library/debian:pull token for registry-1.docker.io",
    ],
)
def test_a_question_that_stalls(name: str) -> None:
    """Of it BuildKit tells no bytes: a registry that does not answer is given up as a download is."""
    call = Call()
    call.vertex(name)
    assert call.gives_up_after(60)
    assert call.stall_timer.gave_up == "read"
