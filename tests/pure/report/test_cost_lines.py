"""Say which step of a build needed which bytes."""

from __future__ import annotations

from stagebake.build.result import StageResult, StepCost
from stagebake.report.cost_lines import step_label, transfer_lines


def make_cost(pulled: int, *, line: int | None = 1, name: str = "RUN x", pushed: int = 0) -> StepCost:
    return StepCost(name=name, line=line, pulled=pulled, unpacked=pulled, pushed=pushed)


def make_stage(*costs: StepCost) -> StageResult:
    return StageResult(name="app", status="rebuilt", costs=costs)


def test_transfer_lines_small_transfers_are_left_out() -> None:
    lines = transfer_lines([make_stage(make_cost(9_999_999), make_cost(0, pushed=10_000_000))])
    assert lines == ["app: 10.0 MB pushed for `RUN x` (line 1)"]


def test_transfer_lines_the_largest_eight_stay_in_their_order() -> None:
    costs = [make_cost(million * 1_000_000, line=million) for million in range(20, 30)]
    lines = transfer_lines([make_stage(*costs)])
    assert [line[-3:-1] for line in lines] == ["22", "23", "24", "25", "26", "27", "28", "29"]


def test_transfer_lines_unknown_step_is_not_named() -> None:
    assert transfer_lines([make_stage(make_cost(10_000_000, line=None, name=""))]) == ["app: 10.0 MB pulled"]


def test_step_label_flags_of_run_and_long_text_are_cut() -> None:
    step = "RUN --mount=type=cache,target=/a \\\n  --network=none echo `date` && " + "x" * 80
    assert step_label(make_cost(0, name=step.replace("\\\n", ""), line=180)) == (
        "`RUN echo 'date' && " + "x" * 40 + "…` (line 180)"
    )
