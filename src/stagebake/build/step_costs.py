"""Tell from the events and the saved caches of a build what each step cost in bytes and seconds. Pure.

BuildKit reports a pull for the restored step that the layer belongs to. The step to name is the one that needed the
files: the first running step that reads the result of the restored one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stagebake.build.result import SavedCache, StageResult, StepCost
from stagebake.buildkit.events import StepRun, Trace, covered_seconds
from stagebake.buildkit.layer_pulls import LayerPull
from stagebake.dockerfile.stages import ImageReference, StageGraph
from stagebake.transfer.step_layers import LAYER_KEYWORDS, read_step_layers
from stagebake.transfer.step_traffic import StepKey, image_stages, restored_steps

# moby/buildkit, frontend/dockerui/namedcontext.go: the vertex that loads a named context
_NAMED_CONTEXT = re.compile(r"^\[context (?P<name>.+?)\] ")


def add_step_costs(
    graph: StageGraph,
    trace: Trace,
    stages: Iterable[StageResult],
    image_bytes: int = 0,
) -> tuple[StageResult, ...]:
    """Return the stages with what each of their steps cost, in the order of the Dockerfile.

    `image_bytes` are new layers of the pushed image that no saved cache has; they count for the final stage.
    """
    stages = tuple(stages)
    runs = _locate_steps(graph, trace)
    pulls = _group_pulls(graph, trace, runs)
    made = _made_bytes(graph, {stage.name: stage.cache for stage in stages if stage.cache})
    made[graph.final.name, None] += image_bytes
    push_seconds = _share_export(graph, trace, made)
    running = [key for key, step_runs in runs.items() if any(run.ran for run in step_runs)]
    costs: dict[str, list[StepCost]] = defaultdict(list)
    for key in sorted({*pulls, *made, *running}, key=_unknown_last):
        cost = _describe_step(graph, key, runs, pulls.get(key, ()))
        cost = replace(cost, pushed=made.get(key, 0), push_seconds=push_seconds.get(key, 0.0))
        if cost.seconds or cost.pulled or cost.pushed:
            costs[key[0]].append(cost)
    return tuple(replace(stage, costs=tuple(costs[stage.name])) for stage in stages)


_Key = tuple[str, int | None]
"""Stage, and the number of its step; None where the step is not known."""

_Runs = Mapping[StepKey, list[StepRun]]


def _unknown_last(key: _Key) -> tuple[str, bool, int]:
    stage, number = key
    return stage, number is None, number or 0


def _locate_steps(graph: StageGraph, trace: Trace) -> dict[StepKey, list[StepRun]]:
    """Return the runs of each step: a COPY --link has two.

    BuildKit numbers a FROM only where it has a vertex of its own (dockerfile2llb/convert.go, prefixCommand).
    """
    found: dict[StepKey, list[StepRun]] = defaultdict(list)
    for name, runs in trace.steps_by_stage(graph).items():
        makers = [number for number, step in enumerate(graph[name].steps) if step.instruction.keyword in LAYER_KEYWORDS]
        if any(run.is_from for run in runs):
            makers.insert(0, 0)
        for run in runs:
            if 1 <= run.number <= len(makers):
                found[name, makers[run.number - 1]].append(run)
    return found


def _group_pulls(graph: StageGraph, trace: Trace, runs: _Runs) -> dict[_Key, list[LayerPull]]:
    """Return the layers that were pulled, by the step that needed them."""
    readers = _first_readers(graph, runs)
    keys_by_vertex = {run.vertex: key for key, step_runs in runs.items() for run in step_runs}
    moved: dict[_Key, list[LayerPull]] = defaultdict(list)
    for pull in trace.layer_pulls():
        key = keys_by_vertex.get(pull.vertex) or _find_image_step(graph, pull.vertex, readers)
        if key is not None:
            reader: _Key = readers.get(key, (key[0], None))
            moved[reader].append(pull)
    return moved


def _first_readers(graph: StageGraph, runs: _Runs) -> dict[StepKey, StepKey]:
    """Return for each restored step the running step that read its result first."""
    starts: list[tuple[float, StepKey]] = []
    running: dict[str, set[int]] = defaultdict(set)
    for key, step_runs in runs.items():
        ran = [run for run in step_runs if run.ran]
        if ran:
            running[key[0]].add(key[1])
            starts.append((min(_start_time(run) for run in ran), key))
    readers: dict[StepKey, StepKey] = {}
    for _, key in sorted(starts):
        for restored in restored_steps(graph, running, key):
            readers.setdefault(restored, key)
        readers.setdefault(key, key)
    return readers


def _start_time(run: StepRun) -> float:
    """Return when a step began; 0 where it ran in an attempt before."""
    return min((start for start, _ in run.intervals), default=0.0)


def _find_image_step(graph: StageGraph, vertex: str, readers: Mapping[StepKey, StepKey]) -> StepKey | None:
    """Return the step that takes from the image of a named context, one that a running step read first."""
    context = _NAMED_CONTEXT.match(vertex)
    if context is None:
        return None
    found: list[StepKey] = []
    for stage in graph.needed_stages():
        for number, step in enumerate(stage.steps):
            if any(isinstance(source, ImageReference) and source.name == context["name"] for source in step.sources):
                found.append((stage.name, number))
    return next((key for key in found if key in readers), found[0] if found else None)


def _made_bytes(graph: StageGraph, saved: Mapping[str, SavedCache]) -> dict[_Key, int]:
    """Return the bytes of the new layers of the saved caches, by the step that made them."""
    contents = {name: cache.content for name, cache in saved.items() if cache.content is not None}
    layered = read_step_layers(graph, contents)
    made: dict[_Key, int] = defaultdict(int)
    for name, cache in saved.items():
        known = 0
        for number, step in enumerate(layered.get(name, ())):
            new = sum(layer.bytes for layer in step.layers if layer.digest in cache.new_layers)
            made[name, number] += new
            known += new
        made[name, None] += max(0, cache.bytes - known)
    return made


def _share_export(graph: StageGraph, trace: Trace, made: Mapping[_Key, int]) -> dict[_Key, float]:
    """Divide the seconds of compressing and pushing the image among the steps whose layers it has, by their bytes."""
    in_image = {key: size for key, size in made.items() if key[0] in image_stages(graph)}
    rate = trace.export_seconds / max(1, sum(in_image.values()))
    return {key: size * rate for key, size in in_image.items()}


def _describe_step(graph: StageGraph, key: _Key, runs: _Runs, pulls: Sequence[LayerPull]) -> StepCost:
    """Return what was pulled for a step and how long it ran."""
    stage, number = key
    instruction = None if number is None else graph[stage].steps[number].instruction
    step_runs = [] if number is None else runs.get((stage, number), [])
    intervals = [interval for pull in pulls for interval in pull.intervals]
    return StepCost(
        name=instruction.text if instruction else "",
        line=instruction.line if instruction else None,
        pulled=sum(pull.bytes for pull in pulls),
        unpacked=sum(pull.bytes for pull in pulls if pull.unpacked),
        pull_seconds=covered_seconds(intervals),
        run_seconds=covered_seconds(interval for run in step_runs if run.ran for interval in run.intervals),
    )
