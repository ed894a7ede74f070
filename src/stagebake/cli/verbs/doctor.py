"""Check the Dockerfile for what prevents cache reuse, and print the lines to use instead."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_history
from stagebake.doctor.build_checks import BuildChecks, fold_other_checks, run_build_checks
from stagebake.doctor.examine import (
    describe_code_push,
    examine_dockerfile,
    findings_json,
    findings_text,
    other_target_notes,
)
from stagebake.doctor.facts import collect_facts
from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.propose import attach_edits, propose_edits
from stagebake.doctor.fixes.rewrite import FixChoice, fix_dockerfile
from stagebake.doctor.output.code_scanning import findings_commands, findings_sarif
from stagebake.doctor.output.rule_summaries import ALL_RULES
from stagebake.doctor.output.selection import RuleChoice, choose_rules, read_ignore_comments, silence_findings
from stagebake.doctor.proof.document import Document
from stagebake.doctor.reading.subject import Subject
from stagebake.errors import EngineError
from stagebake.files import file_mode, refuse_unwritable, write_file
from stagebake.report.tables import make_console

_FORMATS = ("text", "json", "github", "sarif")


def add_doctor_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("doctor", help="print what in the Dockerfile prevents cache reuse, and the lines to use")
    verb.set_defaults(run=run_doctor)
    add_history(verb, commits=100)
    verb.add_argument("--select", action="append", default=[], metavar="RULE", help="report only this rule; repeatable")
    verb.add_argument(
        "--ignore", "--skip", action="append", default=[], metavar="RULE", help="leave out a rule; repeatable"
    )
    verb.add_argument(
        "--fail-on", action="append", default=[], metavar="RULE|all",
        help="exit with 1 if there are findings of this rule; repeatable",
    )  # fmt: skip
    verb.add_argument("--strict", action="store_true", help="exit with 1 if there are findings, as `--fail-on all`")
    verb.add_argument(
        "--format", choices=_FORMATS, help="form of the findings: github for annotations, sarif for code scanning"
    )
    verb.add_argument("--output", type=Path, metavar="FILE", help="write the findings to a file")
    _add_fix_flags(verb)


def _add_fix_flags(verb: argparse.ArgumentParser) -> None:
    """Add the flags that change the Dockerfile."""
    verb.add_argument("--fix", action="store_true", help="write better lines that make the same image; asks first")
    verb.add_argument(
        "--unsafe-fixes",
        action="store_true",
        help="with --fix or --diff: also lines that change the image in a way that is printed",
    )
    verb.add_argument("--diff", action="store_true", help="print what --fix would change, and change nothing")
    verb.add_argument("--yes", action="store_true", help="with --fix: do not ask")


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings, or fix them; return 1 for findings of the rules to fail on, otherwise 0."""
    command = read_command(options)
    choice = _read_choice(command)
    if options.fix or options.diff:
        _fix(command, choice)
        return 0
    if options.output:
        refuse_unwritable(options.output, "--output")
    facts = collect_facts(
        command.settings, command.stage_times(), options.commits, layered=command.cached_step_layers()
    )
    subject = Subject(command.graph, facts)
    findings, notes = _examine(command, subject, choice)
    text = _render_findings(command, subject, findings, notes)
    if options.output:
        write_file(options.output, text)
    else:
        make_console().print(text, end="")
    return 1 if choice.fails_on(findings) else 0


def _read_choice(command: Command) -> RuleChoice:
    """Return the rules that the settings and the flags choose. Raises InputError for an unknown rule."""
    options = command.options
    lists = command.settings.doctor
    choose_rules(
        command.settings.origins.get("doctor", "doctor"),
        select=lists.get("select", ()),
        ignore=lists.get("ignore", ()),
        fail_on=lists.get("fail-on", ()),
    )
    fail_on = (*options.fail_on, ALL_RULES) if options.strict else options.fail_on
    return choose_rules(
        "flags",
        select=options.select or lists.get("select", ()),
        ignore=(*lists.get("ignore", ()), *options.ignore),
        fail_on=fail_on or lists.get("fail-on", ()),
    )


def _fix(command: Command, choice: RuleChoice) -> None:
    """Apply the edits of the findings. BuildKit's checks have none, so they are not asked for."""
    facts = collect_facts(command.settings, {}, command.options.commits)

    def examine_text(text: str) -> tuple[Finding, ...]:
        findings, _ = _examine_text(command, Subject(command.parse_text(text), facts), choice, text, ())
        return findings

    options = command.options
    path = command.settings.root / command.settings.dockerfile
    fix_dockerfile(
        path,
        command.dockerfile_text,
        examine_text,
        FixChoice(unsafe=options.unsafe_fixes, only_print=options.diff, agreed=options.yes),
        make_console(),
        is_uncommitted=command.checkout.has_changes(path),
    )


def _examine(
    command: Command,
    subject: Subject,
    choice: RuleChoice,
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return the findings to show, and notes about them."""
    checks = fold_other_checks(_run_build_checks(command), choice.select)
    findings, notes = _examine_text(command, subject, choice, command.dockerfile_text, checks.findings)
    return findings, (*checks.notes, *other_target_notes(command.graph), *notes)


def _examine_text(
    command: Command,
    subject: Subject,
    choice: RuleChoice,
    text: str,
    checks: Iterable[Finding],
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return the findings in the text of a Dockerfile, each with its edit, and notes about comments."""
    graph = subject.graph
    chosen = tuple(each for each in examine_dockerfile(subject, checks) if choice.is_reported(each))
    findings, notes = silence_findings(chosen, read_ignore_comments(text, graph), graph.path)
    context = command.settings.root / command.settings.context
    document = Document(
        text=text, graph=graph, files=subject.facts.files, find_mode=lambda path: file_mode(context / path)
    )
    return attach_edits(findings, propose_edits(document)), notes


def _render_findings(
    command: Command,
    subject: Subject,
    findings: tuple[Finding, ...],
    notes: Iterable[str],
) -> str:
    form = command.options.format or ("json" if command.options.json else "text")
    if form == "json":
        return findings_json(findings, notes, headline=describe_code_push(subject, findings))
    if form == "github":
        return findings_commands(findings, notes, os.environ)
    if form == "sarif":
        return findings_sarif(findings, notes, command.checkout.folder_in_repository())
    return findings_text(findings, notes, headline=describe_code_push(subject, findings))


def _run_build_checks(command: Command) -> BuildChecks:
    """Return the findings of BuildKit's own checks, and a note instead if no engine answers."""
    try:
        return run_build_checks(command.graph, command.settings)
    except EngineError as error:
        return BuildChecks((), (f"{error.problem}; {error.hint}",))
