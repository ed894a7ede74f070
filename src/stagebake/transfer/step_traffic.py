"""Foretell which bytes the running steps of a build make BuildKit pull and push. Pure.

BuildKit restores lazily: it pulls and unpacks a layer when a step that runs needs the files. A RUN, a WORKDIR and a
COPY need every layer below them, a COPY --link does not; a COPY and a mounted stage need every layer of the stage that
they take from. A push uploads the layers that running steps made; the registry has the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import StageGraph, StageStep
from stagebake.transfer.step_layers import LAYER_KEYWORDS, Layer, LayeredStages

RunningSteps = Mapping[str, Collection[int]]
"""Stages, and the numbers of their steps that run: indexes of `Stage.steps`."""

StepKey = tuple[str, int]
"""Stage, and the number of one of its steps."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Compressed bytes that a build, a stage or a step moves; what is pulled is also unpacked."""

    pulled: int = 0
    pushed: int = 0


@dataclass(frozen=True, kw_only=True)
class StepTraffic(Traffic):
    """Bytes that a running step moves: the layers that no earlier step needed, and those that it makes."""

    stage: str
    step: StageStep


def is_linked(instruction: Instruction) -> bool:
    """Tell whether a COPY or ADD makes a layer of its own, without the layers below it.

    BuildKit ignores --link beside --chmod (moby/buildkit, dockerfile2llb/convert_copy.go).
    """
    return instruction.has_switch("link") and instruction.flag_value("chmod") is None


def foretell_traffic(
    graph: StageGraph,
    layered: LayeredStages,
    running: RunningSteps,
    *,
    saves_stages: bool = True,
) -> tuple[StepTraffic, ...]:
    """Return what each running step moves, the stages in the order in which they are built.

    A running step is assumed to make as many bytes as in its cache; of steps with equal layers there, one pushes.
    With `saves_stages` the layers of all stages are pushed; without it only the image's, as with an inline cache.
    """
    forecast = _Forecast(graph=graph, layered=layered, running=running)
    pushing = image_stages(graph) if not saves_stages else frozenset(graph.names)
    found: list[StepTraffic] = []
    for stage in graph.needed_stages():
        for number in sorted(running.get(stage.name, ())):
            step = stage.steps[number]
            if step.instruction.keyword not in LAYER_KEYWORDS:
                continue
            key = (stage.name, number)
            found.append(
                StepTraffic(
                    stage=stage.name,
                    step=step,
                    pulled=forecast.pull_layers(forecast.needed_layers(key)),
                    pushed=forecast.push_layers(forecast.list_layers([key])) if stage.name in pushing else 0,
                )
            )
    return tuple(found)


def restored_steps(graph: StageGraph, running: RunningSteps, key: StepKey) -> Iterator[StepKey]:
    """Yield the restored steps whose results a running step reads, those of its own stage first.

    FROM counts as restored: it never runs, and the layers of its image are pulled.
    """
    stage, end = key
    step = graph[stage].steps[end]
    if not is_linked(step.instruction):
        yield from _restored_below(graph, running, stage, end)
    for source in step.sources:
        if isinstance(source, str):
            yield from _restored_below(graph, running, source, len(graph[source].steps))


def _restored_below(graph: StageGraph, running: RunningSteps, stage: str, end: int) -> Iterator[StepKey]:
    """Yield the restored steps of a stage before `end`, and those of the stages below it."""
    base = graph.base_stage(graph[stage])
    if base is not None:
        yield from _restored_below(graph, running, base.name, len(base.steps))
    for number in range(end):
        if number == 0 or number not in running.get(stage, ()):
            yield stage, number


def unread_image_bytes(graph: StageGraph, layered: LayeredStages, running: RunningSteps) -> int:
    """Return the bytes of the image's restored layers that no running step reads.

    BuildKit leaves them in the registry, unless the engine keeps the image.
    """
    forecast = _Forecast(graph=graph, layered=layered, running=running)
    for stage, numbers in running.items():
        for number in numbers:
            forecast.pull_layers(forecast.needed_layers((stage, number)))
    final = graph.final
    return forecast.pull_layers(forecast.list_layers(_restored_below(graph, running, final.name, len(final.steps))))


def unknown_sources(graph: StageGraph, layered: LayeredStages, running: RunningSteps, stage: str) -> frozenset[str]:
    """Return the stages whose layers are needed or made by the running steps of a stage, and not known."""
    needed = {stage} if running.get(stage) else set()
    for number in running.get(stage, ()):
        needed |= {name for name, _ in restored_steps(graph, running, (stage, number))}
    return frozenset(needed - layered.keys())


def sum_traffic(steps: Iterable[Traffic]) -> Traffic:
    """Return the sum of several steps."""
    pulled = pushed = 0
    for step in steps:
        pulled += step.pulled
        pushed += step.pushed
    return Traffic(pulled=pulled, pushed=pushed)


@dataclass(frozen=True, kw_only=True)
class _Forecast:
    """Build of which these steps run, and the digests of the layers that it has pulled and pushed so far."""

    graph: StageGraph
    layered: LayeredStages
    running: RunningSteps
    pulled: set[str] = field(default_factory=set)
    pushed: set[str] = field(default_factory=set)

    def needed_layers(self, key: StepKey) -> Iterator[Layer]:
        """Yield the restored layers that a running step reads."""
        yield from self.list_layers(restored_steps(self.graph, self.running, key))

    def list_layers(self, keys: Iterable[StepKey]) -> Iterator[Layer]:
        """Yield the layers of these steps."""
        for stage, number in keys:
            steps = self.layered.get(stage)
            if steps:
                yield from steps[number].layers

    def pull_layers(self, layers: Iterable[Layer]) -> int:
        """Return the bytes of the layers that were not pulled yet, and count them as pulled."""
        return _count_new(layers, self.pulled)

    def push_layers(self, layers: Iterable[Layer]) -> int:
        """Return the bytes of the layers that were not pushed yet, and count them as pushed."""
        return _count_new(layers, self.pushed)


def _count_new(layers: Iterable[Layer], known: set[str]) -> int:
    """Return the bytes of the layers that are not known, and add them."""
    new = {layer.digest: layer.bytes for layer in layers if layer.digest not in known}
    known.update(new)
    return sum(new.values())


def image_stages(graph: StageGraph) -> frozenset[str]:
    """Return the final stage and the stages below its FROM, whose layers are the image's."""
    names = {graph.final.name}
    stage = graph.base_stage(graph.final)
    while stage is not None:
        names.add(stage.name)
        stage = graph.base_stage(stage)
    return frozenset(names)
