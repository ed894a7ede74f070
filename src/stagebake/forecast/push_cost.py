"""Compute what one push moves and how long it takes: steps that run, bytes that they need, and rates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.stages import StageGraph
from stagebake.explain.stage_times import longest_path_seconds
from stagebake.forecast.step_sizes import StepSizes
from stagebake.transfer.rates import HOSTED_RUNNER, Rates, pull_seconds, push_seconds, unpack_seconds
from stagebake.transfer.running_steps import ChangedLines, spread_changes
from stagebake.transfer.step_traffic import StepTraffic, Traffic, foretell_traffic, sum_traffic, unread_image_bytes


@dataclass(frozen=True, kw_only=True)
class RunnerModel:
    """What a forecast assumes: the seconds that each stage runs, the sizes of its layers, the rates of the runner.

    `stores_image`: the engine keeps the image, so it unpacks new layers too and pulls all others; the builder of
    docker/setup-buildx-action does not.
    """

    seconds: Mapping[str, float]
    sizes: StepSizes = field(default_factory=StepSizes)
    rates: Rates = HOSTED_RUNNER
    stores_image: bool = False


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """What a caching strategy exports: the layers of all stages or only the image's, with the image or after it."""

    saves_stages: bool = True
    saves_after: bool = False


@dataclass(frozen=True, kw_only=True)
class PushCost:
    """Seconds until the image is in the registry, and the bytes that the push moves with its caches."""

    seconds: float
    traffic: Traffic


def cost_push(graph: StageGraph, changed: ChangedLines, model: RunnerModel, policy: CachePolicy) -> PushCost:
    """Return the cost of a push in which the stages of `changed` run.

    A stage starts when the stages that it takes from are ready, as in BuildKit, and pulls before it runs.
    """
    layered = model.sizes.layer_steps(graph)
    running = spread_changes(graph, changed)
    steps = foretell_traffic(graph, layered, running, saves_stages=policy.saves_stages)
    image = sum_traffic(foretell_traffic(graph, layered, running, saves_stages=False))
    total = sum_traffic(steps)
    counted = _stage_seconds(graph, changed, model, steps)
    shipped = image.pushed if policy.saves_after else total.pushed
    seconds = longest_path_seconds(graph, counted) + push_seconds(shipped, model.rates)
    if model.stores_image:
        unread = unread_image_bytes(graph, layered, running)
        seconds += pull_seconds(unread, model.rates) + unpack_seconds(image.pushed, model.rates)
        total = Traffic(pulled=total.pulled + unread, pushed=total.pushed)
    return PushCost(seconds=seconds, traffic=total)


def _stage_seconds(
    graph: StageGraph,
    changed: ChangedLines,
    model: RunnerModel,
    steps: Iterable[StepTraffic],
) -> dict[str, float]:
    """Return the seconds of each needed stage: to pull what its steps need, and to run."""
    counted = {
        stage.name: model.seconds[stage.name] if stage.name in changed else 0.0 for stage in graph.needed_stages()
    }
    for step in steps:
        counted[step.stage] += pull_seconds(step.pulled, model.rates)
    return counted
