"""Check a plan or a build against `--expect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stagebake.build.result import BuildResult
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import ExpectationFailed, InputError
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
            raise InputError(
                f"--expect: `{word}`",
                "write restore:STAGE,STAGE or rebuild:STAGE,STAGE",
            )
        for name in names.split(","):
            stage = graph.find_stage(name.strip(), "--expect")
            earlier = expected.setdefault(stage.name, verdict)
            if earlier != verdict:
                raise InputError(
                    f"--expect: `{stage.name}` cannot be both restored and rebuilt",
                    "name it once",
                )
    return expected


def check_plan(plan: Plan, expected: Expectations) -> None:
    """Raise ExpectationFailed if a verdict of the plan differs from the expected one."""
    verdicts = {stage.name: stage.verdict for stage in plan.stages}
    reasons = {stage.name: stage.reasons for stage in plan.stages}
    _require_verdicts(expected, verdicts, reasons, "the plan says")


def check_build(result: BuildResult, reasons: Mapping[str, Reasons], expected: Expectations) -> None:
    """Raise ExpectationFailed if the build did something else with a stage than expected."""
    verdicts: dict[str, str] = {}
    for stage in result.stages:
        verdicts[stage.name] = _VERDICTS.get(stage.status, stage.status)
    _require_verdicts(expected, verdicts, reasons, "the build reports")


def _require_verdicts(
    expected: Expectations,
    verdicts: Mapping[str, str],
    reasons: Mapping[str, Reasons],
    source: str,
) -> None:
    """Raise ExpectationFailed that names each stage with another verdict, and why it has that one."""
    differences: list[str] = []
    for stage, verdict in expected.items():
        actual = verdicts.get(stage, "unused")
        if actual == verdict:
            continue
        sentences = reason_lines(stage, reasons.get(stage, ()))
        why = f" ({'; '.join(sentences)})" if sentences else ""
        differences.append(f"--expect {verdict}:{stage}: {source} {actual}{why}")
    if differences:
        raise ExpectationFailed(
            "; ".join(differences),
            "undo the change, or change --expect",
        )
