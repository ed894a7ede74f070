"""When a bake call waits for a registry that says nothing any more. BuildKit itself would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from stagebake.build.events import Trace


class StallTimer:
    """Told of every event of one bake call, it tells whether the call is to be given up.

    That is so when nothing has changed for `patience` seconds (`read`: a download; `write`: an upload, of which
    BuildKit tells only the end) while it waits for nothing but a registry. A step that runs may be silent for ever.
    And at once when a cache could not be imported, if `strict`: asking again costs less than building anew.

    An import that stalls is not ended by a cancelled build, and until it ends BuildKit does nothing else (seen in
    0.25). So an engine that does nothing at all is given up too: after `write` seconds, or `read` if it is `suspect`.
    """

    def __init__(
        self,
        patience: Mapping[str, float],
        *,
        strict: bool = False,
        suspect: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = {**patience, "idle": patience["read" if suspect else "write"]}
        self._strict = strict
        self._clock = clock
        self._changes = 0
        self._changed = clock()
        self._waits: str | None = None
        self._refused = False
        self.gave_up: str | None = None

    def observe_trace(self, trace: Trace) -> None:
        """Looks at what is known after an event."""
        if trace.changes == self._changes:
            return
        self._changes, self._changed = trace.changes, self._clock()
        self._waits = _waits(trace)
        self._refused = self._strict and bool(trace.import_errors())

    def overdue(self) -> bool:
        """Whether to give up; `gave_up` then says what: `read`, `write`, `idle` or `import`. Any thread may ask."""
        waits = self._waits
        if waits and self._clock() - self._changed > self._patience[waits]:
            self.gave_up = waits
        elif self._refused:
            self.gave_up = "import"
        return self.gave_up is not None


def _waits(trace: Trace) -> str | None:
    """What a bake call waits for, if for nothing else."""
    if trace.is_working:
        return None
    if trace.is_downloading:
        return "read"
    return "write" if trace.is_uploading else "idle" if trace.is_idle else None
