"""Decide when to give up a bake call that waits for a silent registry. BuildKit itself waits without limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import Enum

from stagebake.buildkit.events import Trace


class Stall(Enum):
    """Reason to give up a bake call; the values of READ and WRITE are keys of the setting `patience`."""

    READ = "read"
    """A download stalled."""
    WRITE = "write"
    """An upload stalled."""
    IDLE = "idle"
    """The engine reports nothing that is under way."""
    IMPORT = "import"
    """The registry refused a cache."""


class StallTimer:
    """Watch one bake call: pass each trace to `observe_trace`, and ask `is_overdue` whether to give up.

    A call stalls when nothing changes for `patience` seconds (`read`: a download; `write`: an upload, of which
    BuildKit reports only the end) while it waits for a registry alone. A step that runs may be silent without limit.
    Where `strict`, a cache that could not be imported ends the call at once: one more request costs less than a
    complete rebuild.

    An import that stalls continues after its build is cancelled, and until it ends BuildKit does nothing else (seen in
    0.25). So an engine that does nothing at all also stalls: after `write` seconds, or after `read` seconds where
    `suspect`, because the attempt before stalled on a download.
    """

    def __init__(
        self,
        patience: Mapping[str, float],
        *,
        strict: bool = False,
        suspect: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        read = patience[Stall.READ.value]
        write = patience[Stall.WRITE.value]
        self._limits = {Stall.READ: read, Stall.WRITE: write, Stall.IDLE: read if suspect else write}
        self._strict = strict
        self._clock = clock
        self._changes = 0
        self._changed_at = clock()
        self._waiting_for: Stall | None = None
        self._import_failed = False
        self.stall: Stall | None = None

    def observe_trace(self, trace: Trace) -> None:
        """Note what the call waits for after an event."""
        if trace.changes == self._changes:
            return
        self._changes = trace.changes
        self._changed_at = self._clock()
        self._waiting_for = _find_wait(trace)
        self._import_failed = self._strict and bool(trace.import_errors())

    def is_overdue(self) -> bool:
        """Tell whether to give up; `stall` then says why. Any thread may call this."""
        waiting_for = self._waiting_for
        silent_seconds = self._clock() - self._changed_at
        if waiting_for is not None and silent_seconds > self._limits[waiting_for]:
            self.stall = waiting_for
        elif self._import_failed:
            self.stall = Stall.IMPORT
        return self.stall is not None


def _find_wait(trace: Trace) -> Stall | None:
    """Return what a bake call waits for, None while the engine itself works."""
    if trace.is_working:
        return None
    if trace.is_downloading:
        return Stall.READ
    if trace.is_uploading:
        return Stall.WRITE
    if not trace.is_idle:
        return None
    return Stall.WRITE if trace.has_exported else Stall.IDLE
