"""Tell which step of a build needed which layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stagebake.build.result import SavedCache, StageResult, StepCost, stage_results
from stagebake.build.step_costs import add_step_costs
from stagebake.buildkit.events import Trace
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from tests.support.caches import cache_of, digest, layer, record

# Events of three versions; test_events.py says what was recorded
RECORDED = Path(__file__).parents[1] / "buildkit" / "recorded"
DOCKERFILE = """\
FROM debian AS base
RUN apt
FROM base AS deps
COPY lock .
RUN install
FROM deps AS builder
COPY src src
RUN build
FROM base AS runtime
WORKDIR /app
COPY --from=deps /deps /deps
COPY --from=builder /built /built
RUN chown
"""
# Numbers that BuildKit gives the steps; FROM has one only where it is an image
RESTORED = (
    "[base 1/2] FROM docker.io/library/debian",
    "[base 2/2] RUN apt",
    "[deps 1/2] COPY lock .",
    "[deps 2/2] RUN install",
    "[runtime 1/4] WORKDIR /app",
    "[runtime 2/4] COPY --from=deps /deps /deps",
)
RAN = (
    "[builder 1/2] COPY src src",
    "[builder 2/2] RUN build",
    "[runtime 3/4] COPY --from=builder /built /built",
    "[runtime 4/4] RUN chown",
)


def time_of(second: float) -> str:
    return f"2026-01-01T10:00:{second:09.6f}Z"


def feed_vertex(trace: Trace, name: str, start: float, end: float, *, cached: bool = False) -> None:
    event = {"digest": f"sha256:{name}", "name": name, "cached": cached}
    trace.feed_line(json.dumps({"vertexes": [{**event, "started": time_of(start), "completed": time_of(end)}]}))


def feed_pull(trace: Trace, vertex: str, size: int, start: float, *, unpacked: bool = True) -> None:
    """Feed the download of a layer, which takes one second, and its unpacking, which takes another."""
    blob = digest(f"{vertex} {size}")
    names = [blob, f"extracting {blob}"] if unpacked else [blob]
    for number, name in enumerate(names):
        status: dict[str, Any] = {"id": name, "vertex": f"sha256:{vertex}", "current": size if name == blob else 0}
        status |= {"started": time_of(start + number), "completed": time_of(start + number + 1)}
        trace.feed_line(json.dumps({"statuses": [status]}))


def code_push() -> Trace:
    """Return the events of a push that changed the code: each running step takes a second."""
    trace = Trace()
    for name in RESTORED:
        feed_vertex(trace, name, 0, 0, cached=True)
    for number, name in enumerate(RAN):
        feed_vertex(trace, name, 10 * (number + 1), 10 * (number + 1) + 1)
    return trace


def cost_steps(trace: Trace, saved: dict[str, SavedCache] | None = None, image_bytes: int = 0) -> dict[str, Any]:
    """Return the costs of each stage by the line of the step."""
    graph: StageGraph = parse_dockerfile(DOCKERFILE)
    stages = []
    for stage in stage_results(graph, trace):
        cache = (saved or {}).get(stage.name)
        stages.append(StageResult(name=stage.name, status=stage.status, steps=stage.steps, cache=cache))
    found = {}
    for stage in add_step_costs(graph, trace, stages, image_bytes):
        found[stage.name] = {cost.line: cost for cost in stage.costs}
    return found


def test_costs_layers_count_for_the_first_step_that_reads_them() -> None:
    trace = code_push()
    feed_pull(trace, "[deps 2/2] RUN install", 700, 1)
    feed_pull(trace, "[base 2/2] RUN apt", 100, 2)
    feed_pull(trace, "[runtime 2/4] COPY --from=deps /deps /deps", 600, 25)
    costs = cost_steps(trace)
    assert (costs["base"], costs["deps"]) == ({}, {})
    copy = costs["builder"][7]
    assert (copy.name, copy.pulled, copy.unpacked) == ("COPY src src", 800, 800)
    assert (copy.pull_seconds, copy.run_seconds) == (3.0, 1.0)
    assert (costs["runtime"][12].pulled, costs["runtime"][13].pulled) == (600, 0)


@pytest.mark.parametrize("version", ["0.25", "0.28", "0.33-dev"])
def test_costs_recorded_versions_of_buildkit_tell_the_same(version: str) -> None:
    """The second push of two stages after a change of source.txt, on an empty builder."""
    graph = parse_dockerfile("FROM busybox:1 AS base\nRUN one\nFROM base AS image\nCOPY source.txt /\nRUN two\n")
    trace = Trace()
    for line in (RECORDED / f"{version}-ship.jsonl").read_text(encoding="utf-8").splitlines():
        trace.feed_line(line)
    base, image = add_step_costs(graph, trace, stage_results(graph, trace))
    copy, run = image.costs
    assert (base.costs, copy.line, run.line, run.pulled) == ((), 4, 5, 0)
    assert copy.pulled == copy.unpacked == trace.pulled > 0
    assert min(copy.pull_seconds, copy.run_seconds, run.run_seconds) > 0


def test_costs_layer_that_is_not_unpacked_is_only_pulled() -> None:
    trace = code_push()
    feed_pull(trace, "[base 1/2] FROM docker.io/library/debian", 50, 1, unpacked=False)
    copy = cost_steps(trace)["builder"][7]
    assert (copy.pulled, copy.unpacked) == (50, 0)


def test_costs_named_context_counts_for_the_stage_that_starts_from_it() -> None:
    trace = code_push()
    feed_vertex(trace, "[context debian] load", 0, 1)
    feed_pull(trace, "[context debian] load", 50, 1)
    assert cost_steps(trace)["builder"][7].pulled == 50


def test_costs_layer_that_no_running_step_reads_has_no_step() -> None:
    trace = Trace()
    for name in RESTORED:
        feed_vertex(trace, name, 0, 0, cached=True)
    feed_pull(trace, RESTORED[-1], 600, 1)
    cost = cost_steps(trace)["runtime"][None]
    assert cost == StepCost(name="", line=None, pulled=600, unpacked=600, pull_seconds=2.0)


def test_costs_new_layers_count_for_the_steps_that_made_them() -> None:
    """The export takes three seconds, which the steps of the image share by their bytes."""
    trace = code_push()
    feed_vertex(trace, "exporting to image", 50, 53)
    content = cache_of(
        *(layer("debian"), layer("apt", 0), layer("dir", 1), layer("deps", 2), layer("built", 3), layer("chown", 4)),
        records=[
            record("source"),
            *(record(f"step {number}", [number], layer=number + 1) for number in range(5)),
        ],
    )
    saved = SavedCache(
        ref="r", saved=True, bytes=20, new_layers={digest("built"): 7, digest("chown"): 7}, content=content
    )
    other = SavedCache(ref="o", saved=True, bytes=1000)
    found = cost_steps(trace, {"runtime": saved, "builder": other}, image_bytes=4)
    assert (found["builder"][None].pushed, found["builder"][None].push_seconds) == (1000, 0.0)
    costs = found["runtime"]
    assert {line: cost.pushed for line, cost in costs.items()} == {12: 7, 13: 7, None: 10}
    assert costs[13].push_seconds == 3.0 * 7 / 24
