"""Read what a build did with each stage."""

from __future__ import annotations

import json

import pytest

from stagebake.build.result import StageResult, forceable_steps, rebuilt_stages, stage_results
from stagebake.buildkit.events import Trace
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile

DIAMOND = parse_dockerfile(
    """FROM debian AS top
RUN echo top
FROM top AS left
RUN echo left
FROM top AS right
RUN echo right
FROM left AS bottom
COPY --from=right /r /r
FROM top AS aside
RUN echo aside
""",
    target="bottom",
)
STEPS = {
    "top": ["FROM docker.io/library/debian", "RUN echo top"],
    "left": ["RUN echo left"],
    "right": ["RUN echo right"],
    "bottom": ["COPY --from=right /r /r"],
}


def trace_of(steps: dict[str, list[str]], ran: set[str]) -> Trace:
    """Return the events of a build in which these stages ran and the others came from the cache."""
    trace = Trace()
    for stage, names in steps.items():
        for number, name in enumerate(names, 1):
            event = {
                "digest": f"sha256:{stage}{number}",
                "name": f"[{stage} {number}/{len(names)}] {name}",
                "cached": stage not in ran,
                "started": "2026-01-01T10:00:00Z",
                "completed": "2026-01-01T10:00:02Z",
            }
            trace.feed_line(json.dumps({"vertexes": [event]}))
    return trace


def results_by_name(graph: StageGraph, trace: Trace) -> dict[str, StageResult]:
    return {result.name: result for result in stage_results(graph, trace)}


def test_stage_results_all_steps_cached_are_restored() -> None:
    """Stages that the final one does not need are unused."""
    results = results_by_name(DIAMOND, trace_of(STEPS, set()))
    assert {name: result.status for name, result in results.items()} == {
        "top": "restored", "left": "restored", "right": "restored", "bottom": "restored", "aside": "unused",
    }  # fmt: skip


@pytest.mark.parametrize(
    "ran",
    [
        {"left", "bottom"},
        {"left", "right", "bottom"},
        {"top", "left", "right", "bottom"},
        {"right", "bottom"},
        {"bottom"},
        {"top"},
    ],
)
def test_stage_results_stages_with_a_run_step_are_rebuilt(ran: set[str]) -> None:
    results = results_by_name(DIAMOND, trace_of(STEPS, ran))
    assert {name for name, result in results.items() if result.status == "rebuilt"} == ran
    assert rebuilt_stages(DIAMOND, trace_of(STEPS, ran)) == ran


def test_stage_results_pulled_base_image_is_restored() -> None:
    """Pulling a FROM line does not make its stage rebuilt."""
    trace = trace_of({"top": STEPS["top"][:1]}, {"top"})
    assert results_by_name(DIAMOND, trace)["top"].status == "restored"


def test_stage_results_follow_the_dockerfile_in_any_order_of_events() -> None:
    """Steps follow their numbers."""
    trace = trace_of(dict(reversed(STEPS.items())), set())
    assert list(results_by_name(DIAMOND, trace)) == list(DIAMOND.names)
    trace = Trace()
    for number in (3, 1, 2):
        trace.feed_line(
            json.dumps({"vertexes": [{"digest": f"sha256:{number}", "name": f"[left {number}/3] RUN {number}"}]})
        )
    assert [step.number for step in results_by_name(DIAMOND, trace)["left"].steps] == [1, 2, 3]


def test_stage_results_overlapping_steps_count_their_seconds_once() -> None:
    """Pull two steps of a stage at the same time."""
    trace = trace_of({"left": ["RUN a", "RUN b"]}, set())
    assert results_by_name(DIAMOND, trace)["left"].seconds == pytest.approx(2)


def test_rebuilt_stages_one_of_two_platforms_ran_is_rebuilt() -> None:
    """Build a stage for two platforms and run the step of one."""
    trace = Trace()
    for name, cached in (("linux/amd64", True), ("linux/arm64", False)):
        event = {
            "digest": name,
            "name": f"[{name} left 1/1] RUN a",
            "cached": cached,
            "started": "2026-01-01T10:00:00Z",
        }
        trace.feed_line(json.dumps({"vertexes": [event]}))
    assert rebuilt_stages(DIAMOND, trace) == {"left"}
    assert len(results_by_name(DIAMOND, trace)["left"].steps) == 2


def test_stage_results_unnamed_stages_match_by_number() -> None:
    """BuildKit calls an unnamed stage `stage-N`."""
    graph = parse_dockerfile("FROM a\nRUN a\nFROM b\nRUN b\nCOPY --from=0 /a /a\n")
    trace = trace_of({"stage-0": ["RUN a"], "stage-1": ["RUN b", "COPY --from=0 /a /a"]}, {"stage-1"})
    assert {name: result.status for name, result in results_by_name(graph, trace).items()} == {
        "stage-0": "restored",
        "stage-1": "rebuilt",
    }


@pytest.mark.parametrize("text", ["FROM a\nRUN x\n", "FROM a AS app\nRUN x\n"], ids=["unnamed", "named"])
def test_rebuilt_stages_sole_stage_without_a_name_is_the_final_one(text: str) -> None:
    """BuildKit reports the steps of a Dockerfile's only stage without a name."""
    graph = parse_dockerfile(text)
    trace = Trace()
    trace.feed_line('{"vertexes": [{"digest": "d", "name": "[2/2] RUN x", "started": "2026-01-01T10:00:00Z"}]}')
    assert rebuilt_stages(graph, trace) == {graph.final.name}


def test_rebuilt_stages_padded_step_number_is_read() -> None:
    """BuildKit pads the number of a step: run the fifth step of ten."""
    trace = Trace()
    trace.feed_line('{"vertexes": [{"digest": "d", "name": "[left  5/10] RUN x", "started": "2026-01-01T10:00:00Z"}]}')
    assert rebuilt_stages(DIAMOND, trace) == {"left"}


def test_forceable_steps_leave_out_from_lines() -> None:
    """Return the steps of the given stages only."""
    trace = trace_of(STEPS, set())
    assert [step.name for step in forceable_steps(DIAMOND, trace, frozenset({"top", "right"}))] == [
        "RUN echo top",
        "RUN echo right",
    ]
