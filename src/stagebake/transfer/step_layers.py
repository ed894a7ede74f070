"""Find in the saved caches which layers each step of a Dockerfile made. Pure.

RUN, COPY, ADD and WORKDIR make one layer each on top of the step before it; BuildKit leaves an empty layer out of a
cache (moby/buildkit, cache/remotecache/v1/utils.go). A cache names its records by digests, so the records of a stage
are counted: from its last result along the first input of each record, there is one for each of these steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stagebake.cache.cache_config import DEFAULT_TIME, CacheConfig, CacheRecord, CacheResult
from stagebake.cache.stage_caches import StageCaches
from stagebake.dockerfile.stages import Stage, StageGraph, StageStep

LAYER_KEYWORDS = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})

# A WORKDIR makes at most a few folders: a larger layer is that of another step
_FOLDER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Layer:
    """Layer as a registry stores it; `bytes` is its compressed size."""

    digest: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class LayeredStep:
    """Step and the layers that it made: none or one, or those of its image for a FROM.

    The FROM of a stage that starts from another stage has only the layers that this other stage does not account for.
    """

    stage: str
    step: StageStep
    layers: tuple[Layer, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(layer.bytes for layer in self.layers)


LayeredStages = Mapping[str, tuple[LayeredStep, ...]]
"""Steps of each stage with a readable cache, the FROM first."""


def nearest_stage_caches(stage_caches: StageCaches) -> dict[str, CacheConfig]:
    """Return the newest cache of each stage in the nearest scope that has one."""
    found: dict[str, CacheConfig] = {}
    for stage_cache in sorted(stage_caches.caches, key=lambda entry: entry.generation):
        if stage_cache.stage and stage_cache.cache.records:
            found.setdefault(stage_cache.stage, stage_cache.cache)
    return found


def read_step_layers(graph: StageGraph, caches: Mapping[str, CacheConfig]) -> dict[str, tuple[LayeredStep, ...]]:
    """Return the steps of each needed stage with their layers; a stage without a cache is missing."""
    found: dict[str, tuple[LayeredStep, ...]] = {}
    for stage in graph.needed_stages():
        chain = _last_chain(caches[stage.name]) if stage.name in caches else None
        if chain is None:
            continue
        below = stage_layers(graph, found, stage.base) if isinstance(stage.base, str) else ()
        found[stage.name] = _layer_steps(graph, stage, chain, len(below))
    return found


def stage_layers(graph: StageGraph, layered: LayeredStages, name: str) -> tuple[Layer, ...]:
    """Return all layers of a stage, the lowest first; those of a stage without a cache are missing."""
    base = graph[name].base
    layers = list(stage_layers(graph, layered, base)) if isinstance(base, str) else []
    for step in layered.get(name, ()):
        layers += step.layers
    return tuple(layers)


@dataclass(frozen=True)
class _Chain:
    """Layers of a stage's last result, lowest first, and the results of its steps as numbers of layers.

    `heights` has one number for each step below and in the stage: how many layers its result has, None if not known.
    """

    layers: tuple[Layer, ...]
    heights: tuple[int | None, ...]


def _last_chain(cache: CacheConfig) -> _Chain | None:
    """Return the chain of the step that nothing depends on; of several, that of the newest."""
    linked = {link for record in cache.records.values() for link in record.links}
    leaves = [record for name, record in cache.records.items() if record.result and name not in linked]
    if not leaves:
        leaves = [record for record in cache.records.values() if record.result]
    if not leaves:
        return None
    leaf = max(leaves, key=lambda record: _newest_longest(cache, record))
    layers = _result_layers(cache, leaf.result)
    heights: list[int | None] = []
    for record in _first_inputs(cache, leaf):
        below = _result_layers(cache, record.result)
        is_prefix = bool(below) and layers[: len(below)] == below
        heights.append(len(below) if is_prefix else None)
    return _Chain(layers=layers, heights=tuple(reversed(heights)))


def _newest_longest(cache: CacheConfig, record: CacheRecord) -> tuple[datetime, int]:
    result = record.result
    created = result.created_at if result else DEFAULT_TIME
    return created, len(_result_layers(cache, result))


def _result_layers(cache: CacheConfig, result: CacheResult | None) -> tuple[Layer, ...]:
    """Return the layers of a result, lowest first."""
    if result is None:
        return ()
    identities = list(result.layers)
    if not result.chained:
        parent = cache.layers[identities[0]].parent
        while parent is not None:
            identities.insert(0, parent)
            parent = cache.layers[parent].parent
    found = [cache.layers[identity] for identity in identities]
    return tuple(Layer(layer.blob, int(layer.descriptor["size"])) for layer in found)


def _first_inputs(cache: CacheConfig, record: CacheRecord) -> Iterable[CacheRecord]:
    """Yield the record, the record of its first input, and so on; the source of the lowest FROM is left out."""
    while record.inputs:
        yield record
        alternatives = [cache.records[link.record] for link in record.inputs[0]]
        record = max(alternatives, key=lambda found: (found.result is not None, found.identity))


def _layer_steps(graph: StageGraph, stage: Stage, chain: _Chain, below: int) -> tuple[LayeredStep, ...]:
    """Divide the layers of a stage among its steps; its base stage accounts for the lowest `below` layers."""
    makers = [number for number, step in enumerate(stage.steps) if step.instruction.keyword in LAYER_KEYWORDS]
    inherited = _count_makers(graph, stage)
    heights: Sequence[int | None] = [None] * len(makers)
    if len(chain.heights) == inherited:
        heights = chain.heights[inherited - len(makers) :]
    owners = _assign_layers(stage, makers, heights, chain.layers, below)
    steps: list[LayeredStep] = []
    for number, step in enumerate(stage.steps):
        owned = [layer for layer, owner in zip(chain.layers[below:], owners, strict=True) if owner == number]
        steps.append(LayeredStep(stage=stage.name, step=step, layers=tuple(owned)))
    return tuple(steps)


def _count_makers(graph: StageGraph, stage: Stage) -> int:
    """Return how many steps make a layer in the stage and in the stages below its FROM."""
    own = sum(step.instruction.keyword in LAYER_KEYWORDS for step in stage.steps)
    base = graph.base_stage(stage)
    return own + (_count_makers(graph, base) if base else 0)


def _assign_layers(
    stage: Stage,
    makers: Sequence[int],
    heights: Sequence[int | None],
    layers: Sequence[Layer],
    below: int,
) -> list[int]:
    """Return for each layer above `below` the number of the step that made it, from the top down.

    A step whose result and whose predecessor's result are known made what is between them. Else it made the next layer,
    if that can be its own. What remains belongs to FROM, number 0.
    """
    owners = [0] * (len(layers) - below)
    top = len(layers)
    for position in reversed(range(len(makers))):
        known = heights[position - 1] if position else None
        keyword = stage.steps[makers[position]].instruction.keyword
        if known is None or not below <= known <= top:
            known = top - 1 if _can_be_made_by(keyword, layers[top - 1 : top]) else top
        bottom = max(known, below)
        for index in range(bottom, top):
            owners[index - below] = makers[position]
        top = bottom
    return owners


def _can_be_made_by(keyword: str, layers: Sequence[Layer]) -> bool:
    return all(keyword != "WORKDIR" or layer.bytes <= _FOLDER_BYTES for layer in layers)
