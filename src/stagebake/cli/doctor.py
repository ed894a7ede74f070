"""What in the Dockerfile defeats the caches, and the lines to use instead."""

from __future__ import annotations

import argparse

from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers, add_history
from stagebake.doctor.build_checks import run_build_checks
from stagebake.doctor.examine import examine_dockerfile, findings_json, findings_text
from stagebake.doctor.facts import collect_facts
from stagebake.errors import EngineError
from stagebake.report.tables import make_console


def add_doctor_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("doctor", help="what in the Dockerfile defeats the caches, and the lines to use instead")
    verb.set_defaults(run=run_doctor)
    add_history(verb, commits=100)
    verb.add_argument("--skip", action="append", default=[], metavar="RULE", help="leave a rule out; may be repeated")
    verb.add_argument("--strict", action="store_true", help="exit 1 when anything is found")


def run_doctor(options: argparse.Namespace) -> int:
    """Examines, and tells what is found."""
    command = read_command(options)
    settings, graph = command.settings, command.graph
    times = command.stage_times()
    notes: list[str] = []
    try:
        found = run_build_checks(graph, settings)
    except EngineError as error:
        found = ()
        notes.append(f"{error.what}; {error.remedy}")
    findings = examine_dockerfile(graph, collect_facts(settings, times, options.commits), found, options.skip)
    make_console().print((findings_json if options.json else findings_text)(findings, notes), end="")
    return int(bool(options.strict and findings))
