"""Choose the findings to show, by the settings and by comments in the Dockerfile, and those that fail the command.

A comment `# stagebake: ignore=RULE reason` above an instruction, or within it, silences rules for that instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.finding import Finding
from stagebake.doctor.output.rule_summaries import ALL_RULES, refuse_unknown_rules

_COMMENT = re.compile(r"\s*#\s*stagebake:\s*ignore\s*=\s*(?P<rules>[\w,-]+)\s*(?P<reason>.*?)\s*")


@dataclass(frozen=True, kw_only=True)
class RuleChoice:
    """Rules to report (all where `select` is empty), to leave out, and to fail on; `all` stands for every rule."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()

    def is_reported(self, finding: Finding) -> bool:
        """Return whether a finding is shown."""
        is_selected = not self.select or finding.rule in self.select or ALL_RULES in self.select
        return is_selected and finding.rule not in self.ignore

    def fails_on(self, findings: Iterable[Finding]) -> bool:
        """Return whether one of these findings makes the command fail; a note does only if its rule is named."""
        for finding in findings:
            if finding.rule in self.fail_on or (ALL_RULES in self.fail_on and not finding.is_note):
                return True
        return False


@dataclass(frozen=True)
class IgnoreComment:
    """Comment that silences rules: its line, the line of its instruction, the rules and the reason."""

    line: int
    target: int
    rules: tuple[str, ...]
    reason: str


def choose_rules(origin: str, *, select: Iterable[str], ignore: Iterable[str], fail_on: Iterable[str]) -> RuleChoice:
    """Return a choice of rules. Raises InputError, with the place that gives the names, for an unknown one."""
    choice = RuleChoice(select=tuple(select), ignore=tuple(ignore), fail_on=tuple(fail_on))
    named = (*choice.select, *choice.ignore, *choice.fail_on)
    refuse_unknown_rules((name for name in named if name != ALL_RULES), origin)
    return choice


def read_ignore_comments(text: str, graph: StageGraph) -> tuple[IgnoreComment, ...]:
    """Return the comments of a Dockerfile that silence rules. Raises InputError for an unknown rule."""
    instructions = [instruction for stage in graph.stages for instruction in stage.instructions]
    comments = []
    for number, line in enumerate(text.split("\n"), start=1):
        found = _COMMENT.fullmatch(line)
        target = next((each.line for each in instructions if each.end_line >= number), None)
        if found and target is not None:
            rules = tuple(rule for rule in found["rules"].split(",") if rule)
            refuse_unknown_rules(rules, f"{graph.path}:{number}")
            comments.append(IgnoreComment(number, target, rules, found["reason"]))
    return tuple(comments)


def silence_findings(
    findings: tuple[Finding, ...],
    comments: Iterable[IgnoreComment],
    path: str,
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return the findings that no comment silences, and notes about comments without effect or without a reason."""
    remaining = findings
    notes = []
    for comment in comments:
        kept = tuple(each for each in remaining if each.line != comment.target or each.rule not in comment.rules)
        if len(kept) == len(remaining):
            notes.append(f"{path}:{comment.line}: this comment ignores nothing; remove it")
        elif not comment.reason:
            notes.append(f"{path}:{comment.line}: this comment gives no reason; write one after the name of the rule")
        remaining = kept
    return remaining, tuple(notes)
