"""Test which layers of a saved cache belong to which step."""

from __future__ import annotations

from hypothesis import given

from stagebake.cache.cache_config import CacheConfig
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.transfer.step_layers import read_step_layers, stage_layers
from tests.support.caches import REAL, T1, T2, blobs_of, cache_of, caches, digest, layer, quick, real, record

# The Dockerfile whose caches are in tests/pure/caches
FIVE_STAGES = """\
FROM busybox:1 AS base
RUN echo base > /base
WORKDIR /app
FROM base AS python-deps
COPY requirements.txt .
RUN cat requirements.txt > /venv
FROM base AS node-deps
COPY package.json .
RUN cat package.json > /node_modules
FROM node-deps AS builder
COPY src src
RUN cat src/page.tsx > /built
FROM base AS runtime
COPY --from=python-deps /venv /venv
COPY --from=builder /built /built
COPY --from=node-deps /node_modules /node_modules
"""


def sizes_of(graph: StageGraph, caches: dict[str, CacheConfig], stage: str) -> list[int]:
    """Return the bytes that each step of a stage made."""
    return [step.bytes for step in read_step_layers(graph, caches)[stage]]


def test_step_layers_real_caches_give_each_step_its_layer() -> None:
    graph = parse_dockerfile(FIVE_STAGES)
    caches = {name: real(name) for name in REAL}
    found = {name: sizes_of(graph, caches, name) for name in REAL}
    assert found == {
        "base": [1095806, 186, 85],
        "python-deps": [0, 149, 177],
        "node-deps": [0, 143, 131],
        "builder": [0, 149, 144],
        "runtime": [0, 128, 144, 131],
    }
    layers = stage_layers(graph, read_step_layers(graph, caches), "runtime")
    assert [found.bytes for found in layers] == [1095806, 186, 85, 128, 144, 131]


def test_step_layers_step_without_a_layer_is_found_by_its_result() -> None:
    graph = parse_dockerfile("FROM image\nRUN install\nRUN check\nCOPY . .\n")
    cache = cache_of(
        layer("image"),
        layer("install", 0),
        layer("copy", 1),
        records=[
            record("s"),
            record("install", [0], layer=1),
            record("check", [1], layer=1),
            record("copy", [2], layer=2),
        ],
    )
    steps = read_step_layers(graph, {graph.final.name: cache})[graph.final.name]
    owned = [[found.digest for found in step.layers] for step in steps]
    assert owned == [[digest("image")], [digest("install")], [], [digest("copy")]]


def test_step_layers_other_number_of_records_counts_layers_from_the_top() -> None:
    graph = parse_dockerfile("FROM image\nWORKDIR /app\nRUN install\n")
    cache = cache_of(layer("image"), layer("install", 0), records=[record("s"), record("install", [0], layer=1)])
    steps = read_step_layers(graph, {graph.final.name: cache})[graph.final.name]
    assert [len(step.layers) for step in steps] == [0, 1, 1]


def test_step_layers_several_leaves_take_the_newest_chain() -> None:
    graph = parse_dockerfile("FROM image\nRUN install\n")
    cache = cache_of(
        layer("image"),
        layer("old", 0),
        layer("new", 0),
        records=[record("s"), record("old", [0], layer=1, at=T1), record("new", [0], layer=2, at=T2)],
    )
    steps = read_step_layers(graph, {graph.final.name: cache})[graph.final.name]
    assert [found.digest for found in steps[1].layers] == [digest("new")]


def test_step_layers_stage_without_a_cache_is_missing() -> None:
    graph = parse_dockerfile(FIVE_STAGES)
    found = read_step_layers(graph, {"runtime": real("runtime"), "base": CacheConfig()})
    assert list(found) == ["runtime"]
    # Nothing accounts for the layers of the stage below, so they belong to FROM
    assert [step.bytes for step in found["runtime"]] == [1095806 + 186 + 85, 128, 144, 131]


def chains_of(cache: CacheConfig) -> list[list[str]]:
    """Return the blobs of each result, lowest first."""
    chains = []
    for entry in cache.records.values():
        if entry.result and entry.result.chained:
            chains.append([cache.layers[identity].blob for identity in entry.result.layers])
        elif entry.result:
            chains.append(list(reversed(blobs_of(cache, entry.result.layers[0]))))
    return chains


@quick
@given(caches, caches)
def test_step_layers_any_caches_give_each_layer_of_a_result_to_one_step(
    base: CacheConfig, runtime: CacheConfig
) -> None:
    graph = parse_dockerfile(FIVE_STAGES)
    found = read_step_layers(graph, {"base": base, "runtime": runtime})
    for name, cache in (("base", base), ("runtime", runtime)):
        assert (name in found) == bool(chains_of(cache))
        own = [layer.digest for step in found.get(name, ()) for layer in step.layers]
        assert name not in found or any(chain[len(chain) - len(own) :] == own for chain in chains_of(cache))
