"""Fold the events of one bake call (`--progress=rawjson`) into what each stage did. Pure.

An event line is BuildKit's SolveStatus as JSON (moby/buildkit, client/graph.go): vertexes, statuses, logs, warnings.
BuildKit reports a restored step as cached first, and without that word later, while it pulls the layers: so `cached` is
sticky. Digests of vertexes change from call to call, so names identify steps.

Versions of BuildKit differ in what they send. Unknown fields and statuses are left out, and a field of another type
than expected counts as missing: no event ends a build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stagebake.buildkit.event_fields import read_bytes, read_count, read_items, read_seconds, text_field
from stagebake.buildkit.layer_pulls import LayerPull, PullLog
from stagebake.dockerfile.stages import Stage, StageGraph

# moby/buildkit, dockerfile2llb/convert.go, prefixCommand: [platform stage n/m] text; a sole stage may have no name
_STEP = re.compile(
    r"^\[(?:(?P<platform>\S+/\S+) )?(?:(?P<stage>[^\s\]/]+) )? *(?P<number>\d+)/(?P<of>\d+)\] (?P<text>.*)$",
    re.S,
)
_BLOB = re.compile(r"^sha256:[0-9a-f]{64}$")
# moby/buildkit, util/push and cache/remotecache: statuses that are open during an upload to a registry
_UPLOAD = re.compile(r"^(pushing|writing) ")
# Statuses during which the engine itself is busy: it unpacks, compresses or reads the context
_ENGINE_WORK = ("extracting sha256:", "exporting layers", "transferring ")
# Vertexes that wait for a registry and report no bytes (the token of a push belongs to an upload)
_REGISTRY_REQUEST = re.compile(
    r"^(\[internal\] load metadata for |resolve image config for |\[auth\] \S+:pull token for )"
)
# moby/buildkit, cache/remotecache/export.go, Finalize
_EXPORTED = re.compile(r"^writing cache (?:image )?manifest (sha256:[0-9a-f]{64})$")
_LOG_LINES = 40

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class StepRun:
    """Step of a stage and what BuildKit did with it.

    `intervals` are the times (seconds since 1970) in which the step ran, or in which its layers were pulled and
    unpacked. `stage` is None where a sole stage has no name. `vertex` is the whole name of the step in the events.
    """

    name: str
    stage: str | None
    number: int
    cached: bool
    ran: bool
    running: bool
    intervals: tuple[Interval, ...]
    vertex: str = ""

    @property
    def is_from(self) -> bool:
        """Tell whether the step is the FROM line of its stage."""
        return self.name.startswith("FROM ")

    @property
    def seconds(self) -> float:
        """Return the seconds that the step took, overlapping intervals counted once."""
        return covered_seconds(self.intervals)


@dataclass(frozen=True, kw_only=True)
class StepFailure:
    """Vertex that failed the build: its name, BuildKit's message and the last lines of its output.

    `is_step` tells whether it is a step of a stage, `stage` which one; None for a sole stage without a name.
    """

    name: str
    stage: str | None
    is_step: bool
    message: str
    log: tuple[str, ...]


@dataclass
class _Vertex:
    """State of a vertex after the events so far."""

    name: str
    cached: bool = False
    started: bool = False
    running: bool = False
    error: str = ""
    intervals: dict[float, float] = field(default_factory=dict)
    log: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.step = _STEP.match(self.name)

    @property
    def is_from(self) -> bool:
        return self.step is not None and self.step["text"].startswith("FROM ")

    @property
    def is_import(self) -> bool:
        return self.name.startswith("importing cache manifest")

    @property
    def is_export(self) -> bool:
        return self.name.startswith("exporting ")

    @property
    def ran(self) -> bool:
        return self.started and not self.cached and not self.is_from

    @property
    def failed_itself(self) -> bool:
        """Tell whether the vertex failed by itself; BuildKit cancels others because of it, and skips failed imports."""
        return bool(self.error) and not self.error.endswith("context canceled") and not self.is_import

    def update_from(self, event: Mapping[str, Any]) -> None:
        self.cached |= event.get("cached") is True
        self.error = text_field(event, "error") or self.error
        start = read_seconds(event, "started")
        end = read_seconds(event, "completed")
        if start is None:
            self.running = self.running and end is None
            return
        self.started = True
        self.running = end is None
        self.intervals[start] = max(start, end or start)

    def last_lines(self) -> tuple[str, ...]:
        """Return the end of the output."""
        text = b"".join(self.log).decode(errors="replace")
        return tuple(text.splitlines()[-_LOG_LINES:])


@dataclass
class _Status:
    """Progress that a vertex reports: a layer, an upload, a file transfer."""

    vertex: str
    current: int = 0
    open: bool = True


class Trace:
    """Collect the events of one bake call; call `feed_line` with each line.

    `before` is the trace of an attempt that failed: what ran in it is cached now, and still counts as run. So do the
    layers that it pulled.
    `changes` counts the changes so far. BuildKit repeats every second what it waits for; that is not a change.
    `exported` is the digest of the cache manifest that the call wrote.
    """

    def __init__(self, before: Trace | None = None) -> None:
        self.changes = 0
        self.exported: str | None = None
        self._ran_before = before.finished_names if before else frozenset()
        self._statuses: dict[str, _Status] = {}
        self._vertexes: dict[str, _Vertex] = {}
        self._names_by_digest: dict[str, str] = {}
        self._pulls: PullLog = before._pulls if before else PullLog()
        self._text: list[str] = []

    def feed_line(self, line: str) -> None:
        """Read one line. Keep a line that is not an event (BuildKit's closing error) as text."""
        event = _parse_event(line)
        if event is None:
            self._text.append(line.rstrip("\n"))
            return
        for vertex in read_items(event, "vertexes"):
            self._read_vertex(vertex)
        for status in read_items(event, "statuses"):
            self._read_status(status)
        for log in read_items(event, "logs"):
            self._read_log(log)

    def step_runs(self) -> tuple[StepRun, ...]:
        """Return the steps of all stages, in the order in which BuildKit first named them."""
        runs = []
        for vertex in self._vertexes.values():
            if vertex.step is not None:
                runs.append(self._make_step_run(vertex, vertex.step))
        return tuple(runs)

    def steps_by_stage(self, graph: StageGraph) -> dict[str, tuple[StepRun, ...]]:
        """Return the steps of each stage of a Dockerfile, ordered by their numbers."""
        groups: dict[str, list[StepRun]] = {name: [] for name in graph.names}
        for step in sorted(self.step_runs(), key=lambda step: step.number):
            for stage in _find_stages(graph, step.stage, step.name):
                groups[stage.name].append(step)
        return {name: tuple(steps) for name, steps in groups.items()}

    def first_failure(self) -> StepFailure | None:
        """Return the first vertex that failed by itself, None where nothing failed."""
        for vertex in self._vertexes.values():
            if vertex.failed_itself:
                return StepFailure(
                    name=vertex.step["text"] if vertex.step else vertex.name,
                    stage=vertex.step["stage"] if vertex.step else None,
                    is_step=vertex.step is not None,
                    message=vertex.error,
                    log=vertex.last_lines(),
                )
        return None

    def import_errors(self) -> tuple[str, ...]:
        """Return BuildKit's messages about caches that it could not read; it continues without them."""
        return tuple(vertex.error for vertex in self._vertexes.values() if vertex.error and vertex.is_import)

    @property
    def finished_names(self) -> frozenset[str]:
        """Return the names of the vertexes that ran to their end, in this call and in the attempts before."""
        finished = set(self._ran_before)
        for vertex in self._vertexes.values():
            if vertex.ran and not vertex.running and not vertex.error:
                finished.add(vertex.name)
        return frozenset(finished)

    @property
    def unfinished_blobs(self) -> frozenset[str]:
        """Return the digests of the layers that BuildKit has not received completely."""
        blobs = set()
        for name, status in self._statuses.items():
            if status.open and _BLOB.match(name):
                blobs.add(name)
        return frozenset(blobs)

    @property
    def is_downloading(self) -> bool:
        """Tell whether a running vertex waits for bytes from a registry."""
        for vertex in self._vertexes.values():
            if vertex.running and (vertex.is_import or _REGISTRY_REQUEST.match(vertex.name)):
                return True
        return any(_BLOB.match(status) for status in self._open_statuses())

    @property
    def is_uploading(self) -> bool:
        """Tell whether BuildKit sends anything to a registry."""
        return any(_UPLOAD.match(status) for status in self._open_statuses())

    @property
    def has_exported(self) -> bool:
        """Tell whether an image or a cache was exported: BuildKit 0.28 then pushes it and reports nothing.

        It drops the statuses of such a push, because they have no vertex (moby/buildkit#6587).
        """
        return any(vertex.is_export and vertex.started and not vertex.running for vertex in self._vertexes.values())

    @property
    def is_working(self) -> bool:
        """Tell whether a step runs, or the engine is busy with files."""
        pulling = set()
        for name, status in self._open_statuses().items():
            if name.startswith(_ENGINE_WORK):
                return True
            if _BLOB.match(name):
                pulling.add(status.vertex)
        for vertex in self._vertexes.values():
            is_step = vertex.step is not None and not vertex.is_from
            if is_step and vertex.running and vertex.name not in pulling:
                return True
        return False

    @property
    def is_idle(self) -> bool:
        """Tell whether BuildKit reports no running vertex."""
        return not any(vertex.running for vertex in self._vertexes.values())

    @property
    def pulled(self) -> int:
        """Return the bytes of layers that came from a registry."""
        return self._pulls.bytes

    def layer_pulls(self) -> tuple[LayerPull, ...]:
        """Return the layers that came from a registry."""
        return self._pulls.pulls()

    @property
    def export_seconds(self) -> float:
        """Return the seconds in which BuildKit compressed and pushed the image."""
        exports = [vertex for vertex in self._vertexes.values() if vertex.name.startswith("exporting to ")]
        return covered_seconds(interval for vertex in exports for interval in vertex.intervals.items())

    @property
    def text(self) -> str:
        """Return the lines that are not events."""
        return "\n".join(self._text).strip()

    def _open_statuses(self) -> dict[str, _Status]:
        """Return the statuses that are not completed; a status ends with its vertex at the latest.

        An upload may have no vertex (moby/buildkit#6587).
        """
        found = {}
        for name, status in self._statuses.items():
            vertex = self._vertexes.get(status.vertex)
            runs = vertex.running if vertex is not None else _UPLOAD.match(name)
            if status.open and runs:
                found[name] = status
        return found

    def _make_step_run(self, vertex: _Vertex, step: re.Match[str]) -> StepRun:
        ran_before = vertex.name in self._ran_before
        return StepRun(
            name=step["text"],
            stage=step["stage"],
            number=int(step["number"]),
            cached=vertex.cached and not ran_before,
            ran=vertex.ran or ran_before,
            running=vertex.running and not vertex.cached,
            intervals=tuple(vertex.intervals.items()),
            vertex=vertex.name,
        )

    def _read_vertex(self, event: Mapping[str, Any]) -> None:
        digest = text_field(event, "digest")
        name = text_field(event, "name") or self._names_by_digest.get(digest, "")
        if not name:
            return
        self.changes += 1
        if digest:
            self._names_by_digest[digest] = name
        if name not in self._vertexes:
            self._vertexes[name] = _Vertex(name)
        self._vertexes[name].update_from(event)

    def _read_status(self, event: Mapping[str, Any]) -> None:
        name = text_field(event, "id")
        if not name:
            return
        exported = _EXPORTED.match(name)
        if exported:
            self.exported = exported[1]
        vertex = self._names_by_digest.get(text_field(event, "vertex"), "")
        self._pulls.read_status(event, vertex)
        status = _Status(vertex, read_count(event, "current"), not event.get("completed"))
        if self._statuses.get(name) != status:
            self._statuses[name] = status
            self.changes += 1

    def _read_log(self, event: Mapping[str, Any]) -> None:
        self.changes += 1
        name = self._names_by_digest.get(text_field(event, "vertex"))
        if name is not None:
            self._vertexes[name].log.append(read_bytes(event, "data"))


ProgressListener = Callable[[str, Trace], None]
"""Called at every event with what is done, in words for the user, and what is known of it."""


def find_failed_stage(graph: StageGraph, failure: StepFailure) -> Stage:
    """Return the stage whose step failed; the final stage where the failure names no other."""
    stages = _find_stages(graph, failure.stage, failure.name)
    return stages[-1] if stages else graph.final


def covered_seconds(intervals: Iterable[Interval]) -> float:
    """Return the seconds that at least one of the intervals covers."""
    total = 0.0
    reached = float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _parse_event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _find_stages(graph: StageGraph, name: str | None, step: str) -> list[Stage]:
    """Return the stages of a name in BuildKit's output; a sole stage may have no name at all.

    Several stages may have the name. Then return those that are built and contain the step, as far as its text tells.
    """
    if name is None:
        return [graph.final]
    stages = [stage for stage in graph.stages if stage.displayed_name == name]
    if len(stages) > 1:
        needed = graph.needed_stages()
        stages = [stage for stage in stages if stage in needed]
    with_step = [stage for stage in stages if _contains_step(stage, step)]
    return with_step or stages


def _contains_step(stage: Stage, step: str) -> bool:
    return any(step == part.instruction.text for part in stage.steps)
