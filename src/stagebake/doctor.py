"""The Dockerfile read as a cache: every rule over it, with BuildKit's own checks, for people and machines. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict

from stagebake.dockerfile import StageGraph
from stagebake.report import clock
from stagebake.rules import installs, intake, order
from stagebake.rules.finding import Facts, Finding

Rule = Callable[[StageGraph, Facts], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    order.copies,
    order.arguments,
    order.links,
    installs.cache_mounts,
    installs.apt_updates,
    intake.junk,
    intake.idle_files,
    intake.secret_files,
    intake.secrets,
    intake.bases,
)

# BuildKit's name of a check to ours of the same
_SAME = {"SecretsUsedInArgOrEnv": "secret"}


def examine(
    graph: StageGraph, facts: Facts, checks: Iterable[Finding] = (), skip: Collection[str] = ()
) -> tuple[Finding, ...]:
    """All findings by line; `checks` are BuildKit's, of which those are left out that a rule here has found too."""
    own = [finding for rule in RULES for finding in rule(graph, facts)]
    known = {(finding.rule, finding.line) for finding in own}
    new = [check for check in checks if (_SAME.get(check.rule), check.line) not in known]
    wanted = (finding for finding in (*own, *new) if finding.rule not in skip)
    return tuple(sorted(wanted, key=lambda finding: (finding.path, finding.line, finding.rule)))


def render(findings: tuple[Finding, ...], notes: Iterable[str] = ()) -> str:
    """What is found, each with its place, its cost and the lines to use; then what could not be looked at."""
    blocks = [_block(finding) for finding in findings]
    count = len(findings)
    total = f"{count} finding{'s' * (count != 1)}" if count else "nothing to say: this Dockerfile caches well"
    return "\n\n".join([*blocks, "\n".join([total, *(f"note: {note}" for note in notes)])]) + "\n"


def _block(finding: Finding) -> str:
    lines = [f"{finding.path}:{finding.line}: {finding.what} [{finding.rule}]"]
    if finding.seconds is not None:
        lines.append(f"  costs {clock(finding.seconds)} each time: what stage {finding.stage} last took")
    return "\n".join([*lines, *(f"    {line}" for line in finding.fix)])


def to_json(findings: tuple[Finding, ...], notes: Iterable[str] = ()) -> str:
    """The findings for machines; `seconds` is null where no build is known."""
    return json.dumps({"findings": [asdict(finding) for finding in findings], "notes": list(notes)}, indent=2) + "\n"
