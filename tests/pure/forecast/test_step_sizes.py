"""Sizes of the layers of steps, from flags and from caches."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError
from stagebake.forecast.step_sizes import StepSizes, cached_sizes, given_sizes

DOCKERFILE = """\
FROM debian AS base
RUN apt
FROM base AS app
COPY lock .
RUN install
COPY src .
FROM scratch AS files
COPY a b
"""
GRAPH = parse_dockerfile(DOCKERFILE, target="app")


def sizes_of(sizes: StepSizes, dockerfile: str = DOCKERFILE) -> dict[str, list[int]]:
    layered = sizes.layer_steps(parse_dockerfile(dockerfile, target="app"))
    return {name: [step.bytes for step in steps] for name, steps in layered.items()}


def test_given_sizes_without_a_line_are_those_of_the_last_run() -> None:
    sizes = given_sizes(["base:1=50,base=2.5", "APP=7"], GRAPH)
    assert sizes_of(sizes) == {"base": [50_000_000, 2_500_000], "app": [0, 0, 7_000_000, 0]}
    assert given_sizes(["files=1"], GRAPH).by_text == {"files": {"COPY a b": 1_000_000}}


def test_given_sizes_follow_the_step_to_another_line() -> None:
    """Another commit has one more step, which has no known size."""
    sizes = given_sizes(["app:6=7"], GRAPH)
    assert sizes_of(sizes, DOCKERFILE.replace("COPY lock", "RUN true\nCOPY lock"))["app"] == [0, 0, 0, 0, 7_000_000]


def test_cached_sizes_are_those_of_the_layers() -> None:
    layered = given_sizes(["app:4=1,base:1=2"], GRAPH).layer_steps(GRAPH)
    assert cached_sizes(layered).by_text == {
        "app": {"COPY lock .": 1_000_000},
        "base": {"FROM debian AS base": 2_000_000},
    }
    assert not cached_sizes({}).is_known


@pytest.mark.parametrize("word", ["app", "app=", "app=x", "app=-1", "app:x=1", "=1", "app:4=", "app=1e3"])
def test_given_sizes_word_that_is_not_valid_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="is not STAGE=MB or STAGE:LINE=MB"):
        given_sizes([word], GRAPH)


def test_given_sizes_unknown_stage_or_line_is_refused() -> None:
    with pytest.raises(InputError, match="unknown stage `web`"):
        given_sizes(["web=1"], GRAPH)
    with pytest.raises(InputError, match="line 2 has no FROM, RUN, COPY, ADD or WORKDIR of stage app"):
        given_sizes(["app:2=1"], GRAPH)
