"""Hold the model of a push against what was measured on an image of full size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.forecast.push_cost import CachePolicy, RunnerModel, cost_push
from stagebake.forecast.step_sizes import given_sizes
from stagebake.forecast.strategies import STRATEGIES
from stagebake.transfer.rates import Rates
from stagebake.transfer.running_steps import ChangedLines
from stagebake.transfer.step_traffic import Traffic

AS_IT_IS = """\
FROM nvidia/cuda AS base
RUN install-packages
FROM base AS python-deps
COPY requirements.txt .
RUN pip install
FROM base AS node-deps
COPY package-lock.json .
RUN npm ci
FROM node-deps AS builder
COPY . .
RUN npm run build
FROM base AS runtime
WORKDIR /app
COPY --from=python-deps /venv /venv
COPY --from=builder /app ./
RUN npm prune && chown -R nextjs /venv
"""
# The layer of node_modules was the same after every build of the code, so the model must not count it as new
MENDED = AS_IT_IS.replace(
    "COPY --from=builder /app ./\nRUN npm prune && chown -R nextjs /venv\n",
    "COPY --link --chown=1001 --from=builder /app ./\nCOPY --link --from=node-deps /node_modules /node_modules\n",
).replace("COPY --from=python-deps", "COPY --link --chown=1001 --from=python-deps")
SIZES = ["base:1=1783,base:2=404,python-deps=873,node-deps=199,builder=34,runtime:14=873"]

# Two cores and a registry on the same machine. The seconds of the stages and the rates are fitted to the eleven rows
MACHINE = Rates(download=250.0, upload=250.0, unpack=62.5, pack=80.0)
SECONDS = {"base": 40.0, "python-deps": 73.0, "node-deps": 21.0, "builder": 18.5, "runtime": 6.0}
# zstd unpacks and compresses faster, and makes fewer bytes
ZSTD = replace(MACHINE, unpack=75.0, pack=120.0)
START_SECONDS = 3.5

ALL = dict.fromkeys(SECONDS)
CODE: ChangedLines = {"builder": [10], "runtime": [15]}
CODE_INLINE: ChangedLines = {"node-deps": None, "builder": None, "runtime": [15]}
NO_STAGES = CachePolicy(saves_stages=False)
ALL_STAGES = CachePolicy()
AFTER = CachePolicy(saves_after=True)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Push that was measured: the seconds until the image was in the registry, and megabytes."""

    seconds: float
    pulled: float
    pushed: float


def close_to(expected: float) -> object:
    return pytest.approx(expected, rel=0.2, abs=1.0)


@pytest.mark.parametrize(
    ("dockerfile", "changed", "policy", "stored", "measured"),
    [
        (AS_IT_IS, ALL, NO_STAGES, True, Measured(seconds=243, pulled=1783, pushed=2314)),
        (AS_IT_IS, ALL, ALL_STAGES, True, Measured(seconds=275, pulled=1783, pushed=3419)),
        (AS_IT_IS, CODE_INLINE, NO_STAGES, True, Measured(seconds=148, pulled=3060, pushed=1036)),
        (AS_IT_IS, CODE, ALL_STAGES, True, Measured(seconds=130, pulled=3259, pushed=1070)),
        (AS_IT_IS, CODE, AFTER, False, Measured(seconds=111, pulled=3259, pushed=1070)),
        (MENDED, ALL, ALL_STAGES, True, Measured(seconds=240, pulled=1783, pushed=2561)),
        (MENDED, CODE, ALL_STAGES, True, Measured(seconds=92, pulled=3437, pushed=34)),
        # Saving the linked stage again pulled another 873 MB and pushed 1,037 MB: that is not of the push itself
        (MENDED, CODE, AFTER, False, Measured(seconds=71, pulled=3273 - 873, pushed=34)),
        (MENDED, {}, AFTER, False, Measured(seconds=3.7, pulled=0.2, pushed=0)),
    ],
    ids=[
        "first-inline", "first-max", "code-inline", "code-max", "code-stagebake",
        "mended-first-max", "mended-code-max", "mended-code-stagebake", "mended-nothing",
    ],
)  # fmt: skip
def test_cost_push_is_within_a_fifth_of_what_was_measured(
    dockerfile: str, changed: ChangedLines, policy: CachePolicy, stored: bool, measured: Measured
) -> None:
    """With gzip. An engine that stores the image also unpacks the new layers."""
    graph = parse_dockerfile(dockerfile)
    tail = "runtime:16=1036" if dockerfile is AS_IT_IS else "runtime:16=178"
    model = RunnerModel(seconds=SECONDS, sizes=given_sizes([*SIZES, tail], graph), rates=MACHINE, stores_image=stored)
    cost = cost_push(graph, changed, model, policy)
    assert cost.seconds + START_SECONDS == close_to(measured.seconds)
    assert cost.traffic.pulled / 1e6 == close_to(measured.pulled)
    assert cost.traffic.pushed / 1e6 == close_to(measured.pushed)


@pytest.mark.parametrize(
    ("changed", "measured"),
    [(ALL, Measured(seconds=191, pulled=1783, pushed=2266)), (CODE, Measured(seconds=63, pulled=2320, pushed=25))],
    ids=["first", "code"],
)
def test_cost_push_with_zstd_is_within_a_fifth_of_what_was_measured(changed: ChangedLines, measured: Measured) -> None:
    """The base stays as it is in its registry; the engine does not store the image."""
    graph = parse_dockerfile(MENDED)
    sizes = ["base:1=1783,base:2=354,python-deps=773,node-deps=183,builder=25,runtime:14=773,runtime:16=158"]
    model = RunnerModel(seconds=SECONDS, sizes=given_sizes(sizes, graph), rates=ZSTD)
    cost = cost_push(graph, changed, model, ALL_STAGES)
    assert cost.seconds + START_SECONDS == close_to(measured.seconds)
    assert cost.traffic.pulled / 1e6 == close_to(measured.pulled)
    assert cost.traffic.pushed / 1e6 == close_to(measured.pushed)


def test_cost_push_unknown_sizes_count_the_stages_alone() -> None:
    """Stages that do not depend on each other run at the same time."""
    graph = parse_dockerfile(AS_IT_IS)
    model = RunnerModel(seconds=SECONDS)
    cost = cost_push(graph, ALL, model, ALL_STAGES)
    assert (cost.seconds, cost.traffic) == (40.0 + 73.0 + 6.0, Traffic())
    assert cost_push(graph, {"node-deps": None, "builder": None, "runtime": [15]}, model, AFTER).seconds == 45.5


def test_cost_push_saves_after_the_image_take_no_time_until_the_push() -> None:
    graph = parse_dockerfile(AS_IT_IS)
    model = RunnerModel(seconds=SECONDS, sizes=given_sizes(SIZES, graph), rates=MACHINE)
    with_image = cost_push(graph, CODE, model, ALL_STAGES)
    after = cost_push(graph, CODE, model, AFTER)
    assert with_image.traffic == after.traffic
    assert with_image.seconds - after.seconds == pytest.approx(34 / 80 + 34 / 250)


def test_cost_push_policies_are_those_of_the_strategies() -> None:
    policies = {strategy.name: strategy.policy for strategy in STRATEGIES}
    assert policies == {
        "no cache": NO_STAGES, "type=inline, last image": NO_STAGES, "one mode=max ref": ALL_STAGES, "stagebake": AFTER,
    }  # fmt: skip
