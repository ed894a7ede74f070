"""A Plan as people read it, and `--expect`: whether stages are restored and rebuilt as they are said to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stagebake import reasons, report
from stagebake.dockerfile import StageGraph
from stagebake.errors import InputError, Unexpected
from stagebake.outcome import BuildResult, Reason
from stagebake.plan import Plan

_STYLES = {"restore": "green", "rebuild": "yellow", "unknown": "magenta"}
_VERDICTS = {"restored": "restore", "rebuilt": "rebuild"}

Expectations = Mapping[str, str]
"""Name of a stage to `restore` or `rebuild`."""


def show(plan: Plan, budgets: Mapping[str, float], console: Console, *, verbose: bool = False) -> None:
    """The table of stages, the time against the budgets (minutes), and the warnings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("stage", "expected"):
        table.add_column(heading, no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("why")
    for stage in plan.stages:
        table.add_row(
            Text(stage.name),
            Text(stage.verdict, style=_STYLES[stage.verdict]),
            "" if stage.seconds is None else f"{stage.seconds:.1f}",
            Text("\n".join(reasons.lines(stage.name, stage.reasons, verbose=verbose))),
        )
    console.print(table)
    console.print(Text(_total(plan, budgets)))
    for warning in plan.warnings:
        console.print(Text.assemble(("warning", "yellow"), f": {warning}"))


def _total(plan: Plan, budgets: Mapping[str, float]) -> str:
    if plan.seconds is None:
        return "how long it will take is not known: no ledger has the time of every stage"
    met = [f"{name} ({minutes:g} min)" for name, minutes in budgets.items() if plan.seconds <= minutes * 60]
    kept = f"within the budget for: {', '.join(met)}" if met else "over every budget"
    if met and (untimed := [s.name for s in plan.stages if s.verdict == "restore" and s.seconds is None]):
        return f"expected at least {report.clock(plan.seconds)}: it is not known how long {', '.join(untimed)} takes"
    return f"expected {report.clock(plan.seconds)}, which is {kept}"


def expectations(words: Sequence[str], graph: StageGraph) -> Expectations:
    """`restore:base,python-deps` words by stage. Raises InputError."""
    expected: dict[str, str] = {}
    for word in words:
        verdict, _, names = word.partition(":")
        if verdict not in _VERDICTS.values() or not names:
            raise InputError(f"--expect: `{word}`", "write restore:STAGE,STAGE or rebuild:STAGE,STAGE")
        for name in names.split(","):
            stage = graph.find(name.strip(), "--expect").name
            if expected.setdefault(stage, verdict) != verdict:
                raise InputError(f"--expect: `{stage}` cannot be both restored and rebuilt", "name it once")
    return expected


def hold_plan(plan: Plan, expected: Expectations) -> None:
    """Raises Unexpected where the plan is otherwise."""
    _hold(expected, {stage.name: (stage.verdict, stage.reasons) for stage in plan.stages}, "is expected")


def hold_build(result: BuildResult, expected: Expectations) -> None:
    """Raises Unexpected where the build was otherwise."""
    found = {stage.name: (_VERDICTS.get(stage.status, stage.status), stage.reasons) for stage in result.stages}
    _hold(expected, found, "came out as")


def _hold(expected: Expectations, found: Mapping[str, tuple[str, Sequence[Reason]]], words: str) -> None:
    wrong = []
    for stage, verdict in expected.items():
        actual, why = found.get(stage, ("unused", ()))
        if actual != verdict:
            said = "; ".join(reasons.lines(stage, why)) or "nothing says why"
            wrong.append(f"{stage} {words} {actual}, not {verdict} ({said})")
    if wrong:
        raise Unexpected(f"--expect: {'; '.join(wrong)}", "change what causes it, or what is expected")
