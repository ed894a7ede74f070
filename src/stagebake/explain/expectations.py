"""Check a plan or a build against `--expect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stagebake.build.result import BuildResult
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import InputError, Unexpected
from stagebake.explain.decision import Reasons
from stagebake.explain.plan import Plan
from stagebake.explain.reasons import reason_lines

_VERDICTS = {"restored": "restore", "rebuilt": "rebuild"}


Expectations = Mapping[str, str]
"""Stage name to `restore` or `rebuild`."""


def parse_expectations(words: Sequence[str], graph: StageGraph) -> Expectations:
    """Parse words such as `restore:base,python-deps` into the expected verdict of each stage. Raises InputError."""
    expected: dict[str, str] = {}
    for word in words:
        verdict, _, names = word.partition(":")
        if verdict not in _VERDICTS.values() or not names:
            raise InputError(f"--expect: `{word}`", "write restore:STAGE,STAGE or rebuild:STAGE,STAGE")
        for name in names.split(","):
            stage = graph.find_stage(name.strip(), "--expect").name
            if expected.setdefault(stage, verdict) != verdict:
                raise InputError(f"--expect: `{stage}` cannot be both restored and rebuilt", "name it once")
    return expected


def check_plan(plan: Plan, expected: Expectations) -> None:
    """Raise Unexpected if a verdict of the plan differs from the expected one."""
    found = {stage.name: (stage.verdict, stage.reasons) for stage in plan.stages}
    _require_verdicts(expected, found, "is expected")


def check_build(result: BuildResult, reasons: Mapping[str, Reasons], expected: Expectations) -> None:
    """Raise Unexpected if the build did something else with a stage than expected."""
    found: dict[str, tuple[str, Reasons]] = {}
    for stage in result.stages:
        verdict = _VERDICTS.get(stage.status, stage.status)
        found[stage.name] = (verdict, reasons.get(stage.name, ()))
    _require_verdicts(expected, found, "came out as")


def _require_verdicts(expected: Expectations, found: Mapping[str, tuple[str, Reasons]], verb: str) -> None:
    differences: list[str] = []
    for stage, verdict in expected.items():
        actual, reasons = found.get(stage, ("unused", ()))
        if actual != verdict:
            why = "; ".join(reason_lines(stage, reasons)) or "nothing says why"
            differences.append(f"{stage} {verb} {actual}, not {verdict} ({why})")
    if differences:
        raise Unexpected(f"--expect: {'; '.join(differences)}", "change what causes it, or what is expected")
