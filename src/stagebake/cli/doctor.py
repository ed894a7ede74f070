"""Check the Dockerfile for what prevents cache reuse, and print the lines to use instead."""

from __future__ import annotations

import argparse

from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_history
from stagebake.doctor.build_checks import BuildChecks, run_build_checks
from stagebake.doctor.examine import examine_dockerfile, findings_json, findings_text, other_target_notes
from stagebake.doctor.facts import collect_facts
from stagebake.errors import EngineError
from stagebake.report.tables import make_console


def add_doctor_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("doctor", help="print what in the Dockerfile prevents cache reuse, and the lines to use")
    verb.set_defaults(run=run_doctor)
    add_history(verb, commits=100)
    verb.add_argument("--skip", action="append", default=[], metavar="RULE", help="leave out a rule; repeatable")
    verb.add_argument("--strict", action="store_true", help="exit with 1 if there are findings")


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings as text or JSON; return 1 for findings with --strict, otherwise 0."""
    command = read_command(options)
    graph = command.graph
    facts = collect_facts(command.settings, command.stage_times(), options.commits)
    checks = _run_build_checks(command)
    findings = examine_dockerfile(graph, facts, checks.findings, options.skip)
    render = findings_json if options.json else findings_text
    notes = (*checks.notes, *other_target_notes(graph))
    make_console().print(render(findings, notes), end="")
    return 1 if options.strict and findings else 0


def _run_build_checks(command: Command) -> BuildChecks:
    """Return the findings of BuildKit's own checks, and a note instead if no engine answers."""
    try:
        return run_build_checks(command.graph, command.settings)
    except EngineError as error:
        return BuildChecks((), (f"{error.problem}; {error.hint}",))
