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
from stagebake.doctor.output.code_scanning import findings_commands, findings_sarif
from stagebake.doctor.output.rule_summaries import ALL_RULES
from stagebake.doctor.output.selection import RuleChoice, choose_rules, read_ignore_comments, silence_findings
from stagebake.doctor.reading.subject import Subject
from stagebake.errors import EngineError
from stagebake.files import refuse_unwritable, write_file
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


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings; return 1 for findings of the rules to fail on, otherwise 0."""
    command = read_command(options)
    choice = _read_choice(command)
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


def _examine(
    command: Command,
    subject: Subject,
    choice: RuleChoice,
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return the findings to show, and notes about them."""
    graph = command.graph
    comments = read_ignore_comments(command.dockerfile_text, graph)
    checks = fold_other_checks(_run_build_checks(command), choice.select)
    found = examine_dockerfile(subject, checks.findings)
    chosen = tuple(finding for finding in found if choice.is_reported(finding))
    findings, comment_notes = silence_findings(chosen, comments, graph.path)
    return findings, (*checks.notes, *other_target_notes(graph), *comment_notes)


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
