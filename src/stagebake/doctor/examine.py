"""Examine a Dockerfile with every rule, and show the findings to people and programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.rules.context_rules import find_copied_junk, find_copied_secrets, find_unused_files
from stagebake.doctor.rules.image_rules import find_moving_images, find_secret_variables, find_unlinked_copies
from stagebake.doctor.rules.install_rules import find_missing_cache_mounts, find_separate_apt_updates
from stagebake.doctor.rules.order_rules import find_early_arguments, find_early_copies
from stagebake.formatting import format_seconds, json_document

Rule = Callable[[StageGraph, RepositoryFacts], Iterator[Finding]]

# To add a rule: write its function in one of the rule modules and list it here
RULES: tuple[Rule, ...] = (
    find_early_copies,
    find_early_arguments,
    find_unlinked_copies,
    find_missing_cache_mounts,
    find_separate_apt_updates,
    find_copied_junk,
    find_unused_files,
    find_copied_secrets,
    find_secret_variables,
    find_moving_images,
)

# BuildKit's checks that find the same as one of the rules
_SAME_RULE = {"SecretsUsedInArgOrEnv": "secret"}


def examine_dockerfile(
    graph: StageGraph,
    facts: RepositoryFacts,
    checks: Iterable[Finding] = (),
    skip: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return the findings of all rules by line, without those of the rules in `skip`.

    `checks` are the findings of BuildKit's build checks; one that a rule has found in the same line is left out.
    """
    findings: list[Finding] = []
    for rule in RULES:
        findings += rule(graph, facts)
    known = {(finding.rule, finding.line) for finding in findings}
    for check in checks:
        same_rule = _SAME_RULE.get(check.rule)
        if (same_rule, check.line) not in known:
            findings.append(check)
    wanted = [finding for finding in findings if finding.rule not in skip]
    wanted.sort(key=lambda finding: (finding.path, finding.line, finding.rule))
    return tuple(wanted)


def other_target_notes(graph: StageGraph) -> tuple[str, ...]:
    """Return a note about the stages that the final stage does not need, so no rule examined them."""
    needed = graph.needed_stages()
    others = [stage for stage in graph.stages if stage not in needed]
    if not others:
        return ()
    used = {name for stage in others for name in stage.parents}
    targets = [stage.target for stage in others if stage.target and stage.name not in used]
    names = ", ".join(f"`{stage.name}`" for stage in others)
    verb = "was" if len(others) == 1 else "were"
    how = "".join(f"; run `stagebake doctor --target {target}`" for target in targets[:1])
    return (f"{names} {verb} not examined, because `{graph.final.name}` needs no part of it{how}",)


def findings_text(findings: tuple[Finding, ...], notes: Iterable[str] = ()) -> str:
    """Return the findings as text: place, problem, cost and the lines to use; then the notes."""
    total = f"{len(findings)} findings"
    if len(findings) == 1:
        total = "1 finding"
    elif not findings:
        total = "no findings: this Dockerfile caches well"
    blocks = [_format_finding(finding) for finding in findings]
    summary = [total]
    for note in notes:
        summary.append(f"note: {note}")
    blocks.append("\n".join(summary))
    return "\n\n".join(blocks) + "\n"


def _format_finding(finding: Finding) -> str:
    lines = [f"{finding.path}:{finding.line}: {finding.problem} [{finding.rule}]"]
    if finding.seconds is not None:
        cost = format_seconds(finding.seconds)
        lines.append(f"  costs {cost} each time (last run of stage {finding.stage})")
    for line in finding.fix:
        lines.append(f"    {line}")
    return "\n".join(lines)


def findings_json(findings: tuple[Finding, ...], notes: Iterable[str] = ()) -> str:
    """Return the findings as JSON; `seconds` is null where the time is unknown. The keys are stable."""
    document = {
        "findings": [_finding_record(finding) for finding in findings],
        "notes": list(notes),
    }
    return json_document(document)


def _finding_record(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "path": finding.path,
        "line": finding.line,
        "what": finding.problem,
        "fix": list(finding.fix),
        "stage": finding.stage,
        "seconds": finding.seconds,
        "origin": finding.origin,
    }
