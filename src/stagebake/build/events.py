"""The events of one bake call (`--progress=rawjson`) folded into what each stage did. Pure.

An event line is BuildKit's SolveStatus as JSON (moby/buildkit, client/graph.go): vertexes, statuses, logs, warnings.
A step that is restored is first reported as cached and later again, without that word, while its layers are pulled:
so cached is sticky. Digests of vertexes change from call to call: steps are told apart by their names.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# moby/buildkit, dockerfile2llb/convert.go, prefixCommand: [platform stage n/m] text; a sole stage may go unnamed
_STEP = re.compile(
    r"^\[(?:(?P<platform>\S+/\S+) )?(?:(?P<stage>[^\s\]/]+) )? *(?P<number>\d+)/(?P<of>\d+)\] (?P<text>.*)$",
    re.S,
)
_BLOB = re.compile(r"^sha256:[0-9a-f]{64}$")
# moby/buildkit, util/push and cache/remotecache: what is open while something goes out to a registry
_UPLOAD = re.compile(r"^(pushing|writing) ")
# What a step waits for while it is restored, and what it then does by itself
_UNPACKING = "extracting sha256:"
# What else waits for a registry, and says nothing of bytes (the token of a push is an upload's)
_ASKING = re.compile(r"^(\[internal\] load metadata for |resolve image config for |\[auth\] \S+:pull token for )")
_LOG_LINES = 40

# moby/buildkit, cache/remotecache/export.go, Finalize
_EXPORTED = re.compile(r"^writing cache (?:image )?manifest (sha256:[0-9a-f]{64})$")

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class StepRun:
    """One step of a stage. `seconds` is the time it ran, or was pulled and unpacked."""

    name: str
    stage: str | None
    number: int
    cached: bool
    ran: bool
    running: bool
    intervals: tuple[Interval, ...]

    @property
    def is_from(self) -> bool:
        return self.name.startswith("FROM ")

    @property
    def seconds(self) -> float:
        return covered_seconds(self.intervals)


@dataclass(frozen=True, kw_only=True)
class StepFailure:
    """What broke the build: its name, what BuildKit says of it, and the end of its output.

    `is_step` is whether it is a step of a stage, `stage` which, None for a sole stage without a name.
    """

    name: str
    stage: str | None
    is_step: bool
    message: str
    log: tuple[str, ...]


@dataclass
class _Vertex:
    name: str
    cached: bool = False
    started: bool = False
    running: bool = False
    error: str = ""
    intervals: dict[float, float] = field(default_factory=dict)
    log: list[bytes] = field(default_factory=list)

    @property
    def ran(self) -> bool:
        found = _STEP.match(self.name)
        return self.started and not self.cached and not (found and found["text"].startswith("FROM "))


@dataclass
class _Status:
    vertex: str
    current: int = 0
    open: bool = True


class Trace:
    """What is known so far of one bake call; `feed` it the lines as they come.

    `before` is that of an attempt that failed: what ran in it is cached now, and still counts as run.
    `changes` grows with all that happens; BuildKit repeats by the second what it waits for, and that is no change.
    """

    def __init__(self, before: Trace | None = None) -> None:
        self.changes = 0
        self._ran_before = before.ran if before else frozenset()
        self._statuses: dict[str, _Status] = {}
        self._vertexes: dict[str, _Vertex] = {}
        self._names: dict[str, str] = {}
        self._pulled: dict[str, int] = defaultdict(int)
        self._text: list[str] = []
        self.exported: str | None = None
        """The digest of the cache manifest that was written."""

    def feed(self, line: str) -> None:
        """Takes one line. A line that is no event (BuildKit's closing error) is kept as text."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self._text.append(line.rstrip("\n"))
            return
        for vertex in event.get("vertexes") or []:
            self._vertex(vertex)
        for status in event.get("statuses") or []:
            self._status(status)
        for log in event.get("logs") or []:
            self.changes += 1
            name = self._names.get(log["vertex"])
            if name is not None:
                self._vertexes[name].log.append(base64.b64decode(log.get("data") or ""))

    def steps(self) -> tuple[StepRun, ...]:
        """The steps of all stages, in the order in which BuildKit first named them."""
        return tuple(
            StepRun(
                name=found["text"],
                stage=found["stage"],
                number=int(found["number"]),
                cached=vertex.cached and vertex.name not in self._ran_before,
                ran=vertex.name in self._ran_before or vertex.ran,
                running=vertex.running and not vertex.cached,
                intervals=tuple(vertex.intervals.items()),
            )
            for vertex in self._vertexes.values()
            if (found := _STEP.match(vertex.name))
        )

    @property
    def ran(self) -> frozenset[str]:
        """The names of what ran to its end, here and in the attempts before."""
        own = (v.name for v in self._vertexes.values() if v.ran and not v.running and not v.error)
        return self._ran_before.union(own)

    @property
    def downloading(self) -> bool:
        """Whether anything that runs waits for bytes from a registry."""
        running = (vertex for vertex in self._vertexes.values() if vertex.running)
        asking = any(_is_import(vertex) or _ASKING.match(vertex.name) for vertex in running)
        return asking or any(_BLOB.match(status) for status in self._open())

    @property
    def unfinished(self) -> frozenset[str]:
        """The layers of which not all has come."""
        return frozenset(name for name, status in self._statuses.items() if status.open and _BLOB.match(name))

    @property
    def idle(self) -> bool:
        """Whether BuildKit says of nothing that it is under way."""
        return not any(vertex.running for vertex in self._vertexes.values())

    @property
    def uploading(self) -> bool:
        """Whether anything goes out to a registry."""
        return any(_UPLOAD.match(status) for status in self._open())

    @property
    def working(self) -> bool:
        """Whether a step runs, or the engine is busy with files."""
        opened = self._open()
        pulling = {found.vertex for status, found in opened.items() if _BLOB.match(status)}
        if any(status.startswith((_UNPACKING, "exporting layers", "transferring ")) for status in opened):
            return True
        steps = (v for v in self._vertexes.values() if v.running and v.name not in pulling)
        return any(_STEP.match(vertex.name) and "] FROM " not in vertex.name for vertex in steps)

    @property
    def pulled(self) -> int:
        """Bytes of layers that came from a registry."""
        return sum(self._pulled.values())

    @property
    def text(self) -> str:
        """What was printed that is no event."""
        return "\n".join(self._text).strip()

    def failure(self) -> StepFailure | None:
        """The first step that failed by itself; the ones that were cancelled for its sake do not count."""
        for vertex in self._vertexes.values():
            if vertex.error and not vertex.error.endswith("context canceled") and not _is_import(vertex):
                found = _STEP.match(vertex.name)
                log = b"".join(vertex.log).decode(errors="replace").splitlines()[-_LOG_LINES:]
                return StepFailure(
                    name=found["text"] if found else vertex.name,
                    stage=found["stage"] if found else None,
                    is_step=found is not None,
                    message=vertex.error,
                    log=tuple(log),
                )
        return None

    def import_errors(self) -> tuple[str, ...]:
        """What BuildKit said of caches that it could not read; it builds on without them."""
        return tuple(vertex.error for vertex in self._vertexes.values() if vertex.error and _is_import(vertex))

    def _open(self) -> dict[str, _Status]:
        """What BuildKit said it does, and has not ended; with its step it ends too."""
        return {
            name: status
            for name, status in self._statuses.items()
            if status.open and status.vertex in self._vertexes and self._vertexes[status.vertex].running
        }

    def _status(self, event: Mapping[str, Any]) -> None:
        name, current = event["id"], event.get("current", 0)
        if _BLOB.match(name):
            self._pulled[name] = max(self._pulled[name], current)
        elif found := _EXPORTED.match(name):
            self.exported = found[1]
        now = _Status(self._names.get(event.get("vertex", ""), ""), current, "completed" not in event)
        if self._statuses.get(name) != now:
            self._statuses[name] = now
            self.changes += 1

    def _vertex(self, event: Mapping[str, Any]) -> None:
        self.changes += 1
        self._names[event["digest"]] = event["name"]
        vertex = self._vertexes.setdefault(event["name"], _Vertex(event["name"]))
        vertex.cached |= event.get("cached", False)
        vertex.error = event.get("error") or vertex.error
        if event.get("started"):
            vertex.started = True
            vertex.running = "completed" not in event
            start = timestamp_seconds(event["started"])
            vertex.intervals[start] = max(timestamp_seconds(event.get("completed") or event["started"]), start)


def covered_seconds(intervals: tuple[Interval, ...]) -> float:
    """Seconds that lie in at least one of the intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def timestamp_seconds(timestamp: str) -> float:
    """A Go timestamp (RFC 3339, nanoseconds) in seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def _is_import(vertex: _Vertex) -> bool:
    return vertex.name.startswith("importing cache manifest")
