"""Check a plan or a build against `--expect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stagebake.build.result import BuildResult, RebuildReason
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import InputError, Unexpected
from stagebake.explain.plan import Plan
from stagebake.explain.reasons import reason_lines

_VERDICTS = {"restored": "restore", "rebuilt": "rebuild"}


Expectations = Mapping[str, str]
"""Name of a stage to `restore` or `rebuild`."""


def parse_expectations(words: Sequence[str], graph: StageGraph) -> Expectations:
    """`restore:base,python-deps` words by stage. Raises InputError."""
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
    """Raises Unexpected where the plan is otherwise."""
    _hold(expected, {stage.name: (stage.verdict, stage.reasons) for stage in plan.stages}, "is expected")


def check_build(result: BuildResult, expected: Expectations) -> None:
    """Raises Unexpected where the build was otherwise."""
    found = {stage.name: (_VERDICTS.get(stage.status, stage.status), stage.reasons) for stage in result.stages}
    _hold(expected, found, "came out as")


def _hold(expected: Expectations, found: Mapping[str, tuple[str, Sequence[RebuildReason]]], words: str) -> None:
    wrong = []
    for stage, verdict in expected.items():
        actual, why = found.get(stage, ("unused", ()))
        if actual != verdict:
            said = "; ".join(reason_lines(stage, why)) or "nothing says why"
            wrong.append(f"{stage} {words} {actual}, not {verdict} ({said})")
    if wrong:
        raise Unexpected(f"--expect: {'; '.join(wrong)}", "change what causes it, or what is expected")
