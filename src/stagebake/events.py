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
_LOG_LINES = 40

# moby/buildkit, cache/remotecache/export.go, Finalize
_EXPORTED = re.compile(r"^writing cache (?:image )?manifest (sha256:[0-9a-f]{64})$")

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Step:
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
        return covered(self.intervals)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What broke the build: its name, what BuildKit says of it, and the end of its output.

    For a step of a stage, `number` of `steps` says which; both are 0 for anything else.
    """

    name: str
    stage: str | None
    number: int
    steps: int
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


class Trace:
    """What is known so far of one bake call; `feed` it the lines as they come."""

    def __init__(self) -> None:
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
            if _BLOB.match(status["id"]):
                self._pulled[status["id"]] = max(self._pulled[status["id"]], status.get("current", 0))
            elif found := _EXPORTED.match(status["id"]):
                self.exported = found[1]
        for log in event.get("logs") or []:
            name = self._names.get(log["vertex"])
            if name is not None:
                self._vertexes[name].log.append(base64.b64decode(log.get("data") or ""))

    def steps(self) -> tuple[Step, ...]:
        """The steps of all stages, in the order in which BuildKit first named them."""
        return tuple(
            Step(
                name=found["text"],
                stage=found["stage"],
                number=int(found["number"]),
                cached=vertex.cached,
                ran=vertex.started and not vertex.cached and not found["text"].startswith("FROM "),
                running=vertex.running and not vertex.cached,
                intervals=tuple(vertex.intervals.items()),
            )
            for vertex in self._vertexes.values()
            if (found := _STEP.match(vertex.name))
        )

    @property
    def pulled(self) -> int:
        """Bytes of layers that came from a registry."""
        return sum(self._pulled.values())

    @property
    def text(self) -> str:
        """What was printed that is no event."""
        return "\n".join(self._text).strip()

    def failure(self) -> Failure | None:
        """The first step that failed by itself; the ones that were cancelled for its sake do not count."""
        for vertex in self._vertexes.values():
            if vertex.error and not vertex.error.endswith("context canceled") and not _is_import(vertex):
                found = _STEP.match(vertex.name)
                log = b"".join(vertex.log).decode(errors="replace").splitlines()[-_LOG_LINES:]
                return Failure(
                    name=found["text"] if found else vertex.name,
                    stage=found["stage"] if found else None,
                    number=int(found["number"]) if found else 0,
                    steps=int(found["of"]) if found else 0,
                    message=vertex.error,
                    log=tuple(log),
                )
        return None

    def import_errors(self) -> tuple[str, ...]:
        """What BuildKit said of caches that it could not read; it builds on without them."""
        return tuple(vertex.error for vertex in self._vertexes.values() if vertex.error and _is_import(vertex))

    def _vertex(self, event: Mapping[str, Any]) -> None:
        self._names[event["digest"]] = event["name"]
        vertex = self._vertexes.setdefault(event["name"], _Vertex(event["name"]))
        vertex.cached |= event.get("cached", False)
        vertex.error = event.get("error") or vertex.error
        if event.get("started"):
            vertex.started = True
            vertex.running = "completed" not in event
            start = seconds(event["started"])
            vertex.intervals[start] = max(seconds(event.get("completed") or event["started"]), start)


def covered(intervals: tuple[Interval, ...]) -> float:
    """Seconds that lie in at least one of the intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def seconds(timestamp: str) -> float:
    """A Go timestamp (RFC 3339, nanoseconds) in seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def _is_import(vertex: _Vertex) -> bool:
    return vertex.name.startswith("importing cache manifest")
