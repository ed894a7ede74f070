"""Examine a Dockerfile with every rule, and show the findings to people and programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.cost import describe_push, weigh
from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.edit import describe_fix, edit_record
from stagebake.doctor.reading.subject import Subject
from stagebake.doctor.rules.argument_rules import find_early_arguments, find_secret_variables
from stagebake.doctor.rules.base_rules import find_heavy_bases, find_moving_images
from stagebake.doctor.rules.cache_rules import find_missing_cache_mounts
from stagebake.doctor.rules.context_rules import find_copied_junk, find_copied_secrets, find_unused_files
from stagebake.doctor.rules.fresh_rules import find_missing_versions, find_moving_sources, find_separate_apt_updates
from stagebake.doctor.rules.link_rules import find_unlinked_copies
from stagebake.doctor.rules.mount_rules import find_defeated_mounts, find_docker_clean, find_hiding_mounts
from stagebake.doctor.rules.order_rules import find_early_copies, find_early_stage_copies
from stagebake.doctor.rules.tail_rules import (
    find_late_owner_changes,
    find_late_removals,
    find_late_runs,
    find_late_setup,
)
from stagebake.formatting import format_seconds, format_size, json_document

Rule = Callable[[Subject], Iterator[Finding]]

# To add a rule: write its function in one of the rule modules and list it here
RULES: tuple[Rule, ...] = (
    find_early_copies,
    find_early_stage_copies,
    find_early_arguments,
    find_late_owner_changes,
    find_late_setup,
    find_late_removals,
    find_late_runs,
    find_unlinked_copies,
    find_heavy_bases,
    find_missing_cache_mounts,
    find_defeated_mounts,
    find_docker_clean,
    find_hiding_mounts,
    find_separate_apt_updates,
    find_copied_junk,
    find_unused_files,
    find_copied_secrets,
    find_secret_variables,
    find_moving_sources,
    find_missing_versions,
    find_moving_images,
)

# BuildKit's checks that find the same as one of the rules
_SAME_RULE = frozenset({"SecretsUsedInArgOrEnv"})


def examine_dockerfile(
    subject: Subject,
    checks: Iterable[Finding] = (),
    skip: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return the findings of all rules, the most expensive first, without those of the rules in `skip`.

    `checks` are the findings of BuildKit's build checks, which come before the notes. One that finds the same as a rule
    is left out, whether the rule agrees or not.
    """
    findings: dict[Finding, None] = {}
    for rule in RULES:
        findings.update(dict.fromkeys(rule(subject)))
    wanted = [finding for finding in findings if finding.rule not in skip]
    wanted += [check for check in checks if check.rule not in _SAME_RULE and check.rule not in skip]
    return weigh(subject).weigh_findings(wanted)


def describe_code_push(subject: Subject, findings: tuple[Finding, ...]) -> str:
    """Return one line about what a push of code costs, and how much of it the findings cause."""
    scales = weigh(subject)
    return describe_push(scales.push_cost(), findings, scales.saved_by(findings))


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


def findings_text(findings: tuple[Finding, ...], notes: Iterable[str] = (), *, headline: str = "") -> str:
    """Return the cost of a push, and the findings as text: place, problem, cost and lines to use; then the notes."""
    costly = [finding for finding in findings if not finding.is_note]
    total = f"{len(costly)} findings"
    if len(costly) == 1:
        total = "1 finding"
    elif not costly:
        total = "no findings: this Dockerfile caches well"
    blocks = [headline] if headline else []
    blocks += [_format_finding(finding) for finding in costly]
    remarks = [_format_finding(finding) for finding in findings if finding.is_note]
    if remarks:
        blocks += ["notes, which make no push slower today:", *remarks]
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
    if finding.cost.pulled or finding.cost.pushed:
        pulled, pushed = format_size(finding.cost.pulled or 0), format_size(finding.cost.pushed or 0)
        lines.append(f"  pulls {pulled} and pushes {pushed} at each push of code")
    if finding.frequency is not None and finding.frequency.runs:
        lines.append(f"  runs in {finding.frequency.runs} of the last {finding.frequency.pushes} pushes")
    if finding.edit is not None:
        lines.append(f"  {describe_fix(finding.edit)}")
    for line in finding.fix:
        lines.append(f"    {line}")
    return "\n".join(lines)


def findings_json(findings: tuple[Finding, ...], notes: Iterable[str] = (), *, headline: str = "") -> str:
    """Return the findings as JSON; `seconds` is null where the time is unknown. The keys are stable."""
    document = {
        "findings": [_finding_record(finding) for finding in findings],
        "notes": list(notes),
        "push": headline,
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
        "note": finding.is_note,
        "lines": list(finding.lines),
        "pulled": finding.cost.pulled,
        "pushed": finding.cost.pushed,
        "runs": finding.frequency.runs if finding.frequency else None,
        "pushes": finding.frequency.pushes if finding.frequency else None,
        "edit": edit_record(finding.edit) if finding.edit else None,
    }
