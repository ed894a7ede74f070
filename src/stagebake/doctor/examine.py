"""The Dockerfile read as a cache: every rule over it, with BuildKit's own checks, for people and machines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.context_rules import (
    copied_idle_files,
    copied_junk,
    copied_secrets,
    moving_bases,
    secret_variables,
)
from stagebake.doctor.finding import Finding, RepositoryFacts
from stagebake.doctor.install_rules import missing_cache_mounts, separate_apt_updates
from stagebake.doctor.order_rules import early_arguments, early_copies, unlinked_copies
from stagebake.formatting import format_seconds, json_document

Rule = Callable[[StageGraph, RepositoryFacts], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    early_copies,
    early_arguments,
    unlinked_copies,
    missing_cache_mounts,
    separate_apt_updates,
    copied_junk,
    copied_idle_files,
    copied_secrets,
    secret_variables,
    moving_bases,
)

# BuildKit's name of a check to ours of the same
_SAME = {"SecretsUsedInArgOrEnv": "secret"}


def examine(
    graph: StageGraph, facts: RepositoryFacts, checks: Iterable[Finding] = (), skip: Collection[str] = ()
) -> tuple[Finding, ...]:
    """All findings by line; `checks` are BuildKit's, of which those are left out that a rule here has found too."""
    own = [finding for rule in RULES for finding in rule(graph, facts)]
    known = {(finding.rule, finding.line) for finding in own}
    new = [check for check in checks if (_SAME.get(check.rule), check.line) not in known]
    wanted = (finding for finding in (*own, *new) if finding.rule not in skip)
    return tuple(sorted(wanted, key=lambda finding: (finding.path, finding.line, finding.rule)))


def findings_text(findings: tuple[Finding, ...], notes: Iterable[str] = ()) -> str:
    """What is found, each with its place, its cost and the lines to use; then what could not be looked at."""
    blocks = [_block(finding) for finding in findings]
    count = len(findings)
    total = f"{count} finding{'s' * (count != 1)}" if count else "nothing to say: this Dockerfile caches well"
    return "\n\n".join([*blocks, "\n".join([total, *(f"note: {note}" for note in notes)])]) + "\n"


def _block(finding: Finding) -> str:
    lines = [f"{finding.path}:{finding.line}: {finding.what} [{finding.rule}]"]
    if finding.seconds is not None:
        lines.append(f"  costs {format_seconds(finding.seconds)} each time: what stage {finding.stage} last took")
    return "\n".join([*lines, *(f"    {line}" for line in finding.fix)])


def findings_json(findings: tuple[Finding, ...], notes: Iterable[str] = ()) -> str:
    """The findings for machines; `seconds` is null where no build is known."""
    return json_document({"findings": [asdict(finding) for finding in findings], "notes": list(notes)})
