"""Examine the text of a Dockerfile with every rule of `doctor`."""

from __future__ import annotations

from collections.abc import Iterable

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.examine import examine_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.subject import Subject

# Rules whose `fix` is not lines of a Dockerfile
_FIXES_OTHER_FILE = ("dockerignore", "idle-files", "secret-file", "secret", "base-moves")


def examine_text(text: str, *, files: str = "", commits: Iterable[str] = (), **facts: object) -> tuple[Finding, ...]:
    """Return the findings in a Dockerfile; `files` and each of `commits` are paths with spaces between them.

    Checks that the lines to use are lines of a Dockerfile.
    """
    known = RepositoryFacts(
        files=frozenset(files.split()),
        commits=tuple(frozenset(changed.split()) for changed in commits),
        **facts,  # type: ignore[arg-type]
    )
    findings = examine_dockerfile(Subject(parse_dockerfile(text), known))
    for finding in findings:
        if finding.rule not in _FIXES_OTHER_FILE:
            parse_dockerfile("\n".join(("FROM a", *finding.fix)))
    return findings


def only_finding(rule: str, findings: Iterable[Finding]) -> Finding:
    """Return the one finding of a rule."""
    (found,) = (finding for finding in findings if finding.rule == rule)
    return found


def rule_names(findings: Iterable[Finding]) -> set[str]:
    """Return the rules of these findings."""
    return {finding.rule for finding in findings}
