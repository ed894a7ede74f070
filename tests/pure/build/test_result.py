"""Read what a build did with each stage."""

from __future__ import annotations

import json

import pytest

from stagebake.build.events import Trace
from stagebake.build.result import StageResult, forceable_steps, rebuilt_stages, stage_results
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
    """The events of a build in which these stages ran and the others came from the cache."""
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


def read(graph: StageGraph, trace: Trace) -> dict[str, StageResult]:
    return {result.name: result for result in stage_results(graph, trace)}


def test_nothing_ran() -> None:
    """All steps cached: every needed stage is restored; the others are unused."""
    results = read(DIAMOND, trace_of(STEPS, set()))
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
def test_stage_results_of_a_diamond_are_rebuilt_where_a_step_ran(ran: set[str]) -> None:
    results = read(DIAMOND, trace_of(STEPS, ran))
    assert {name for name, result in results.items() if result.status == "rebuilt"} == ran
    assert rebuilt_stages(DIAMOND, trace_of(STEPS, ran)) == ran


def test_a_stage_whose_base_was_pulled_is_restored() -> None:
    """The FROM line of a stage does not make it rebuilt."""
    trace = trace_of({"top": STEPS["top"][:1]}, {"top"})
    assert read(DIAMOND, trace)["top"].status == "restored"


def test_results_come_in_the_order_of_the_dockerfile() -> None:
    """Whatever ran first, the report follows the file; steps follow their numbers."""
    trace = trace_of(dict(reversed(STEPS.items())), set())
    assert list(read(DIAMOND, trace)) == list(DIAMOND.names)
    trace = Trace()
    for number in (3, 1, 2):
        trace.feed_line(
            json.dumps({"vertexes": [{"digest": f"sha256:{number}", "name": f"[left {number}/3] RUN {number}"}]})
        )
    assert [step.number for step in read(DIAMOND, trace)["left"].steps] == [1, 2, 3]


def test_seconds_of_steps_that_overlap_count_once() -> None:
    """Two steps of a stage that are pulled at the same time take that time once."""
    trace = trace_of({"left": ["RUN a", "RUN b"]}, set())
    assert read(DIAMOND, trace)["left"].seconds == pytest.approx(2)


def test_steps_of_all_platforms_belong_to_the_stage() -> None:
    """A stage that is built for two platforms is rebuilt when one of them ran."""
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
    assert len(read(DIAMOND, trace)["left"].steps) == 2


def test_unnamed_stages() -> None:
    """BuildKit calls an unnamed stage stage-N, whatever it is called here."""
    graph = parse_dockerfile("FROM a\nRUN a\nFROM b\nRUN b\nCOPY --from=0 /a /a\n")
    trace = trace_of({"stage-0": ["RUN a"], "stage-1": ["RUN b", "COPY --from=0 /a /a"]}, {"stage-1"})
    assert {name: result.status for name, result in read(graph, trace).items()} == {
        "stage-0": "restored",
        "stage-1": "rebuilt",
    }


@pytest.mark.parametrize("text", ["FROM a\nRUN x\n", "FROM a AS app\nRUN x\n"], ids=["unnamed", "named"])
def test_a_sole_stage_goes_without_a_name(text: str) -> None:
    """The steps of a Dockerfile's only stage bear no name at all."""
    graph = parse_dockerfile(text)
    trace = Trace()
    trace.feed_line('{"vertexes": [{"digest": "d", "name": "[2/2] RUN x", "started": "2026-01-01T10:00:00Z"}]}')
    assert rebuilt_stages(graph, trace) == {graph.final.name}


def test_a_stage_of_ten_steps() -> None:
    """BuildKit pads the number of a step; a stage whose fifth step of ten ran is rebuilt."""
    trace = Trace()
    trace.feed_line('{"vertexes": [{"digest": "d", "name": "[left  5/10] RUN x", "started": "2026-01-01T10:00:00Z"}]}')
    assert rebuilt_stages(DIAMOND, trace) == {"left"}


def test_steps_of_some_stages() -> None:
    """The steps of the stages asked for, without their FROM lines."""
    trace = trace_of(STEPS, set())
    assert [step.name for step in forceable_steps(DIAMOND, trace, frozenset({"top", "right"}))] == [
        "RUN echo top",
        "RUN echo right",
    ]
