"""What in the Dockerfile defeats the caches, and the lines to use instead."""

from __future__ import annotations

import argparse

from stagebake import checks, doctor, report, survey
from stagebake.errors import EngineError
from stagebake.verbs import flags, job


def add(verbs: flags.Verbs) -> None:
    """Its flags."""
    verb = verbs.add_parser("doctor", help="what in the Dockerfile defeats the caches, and the lines to use instead")
    verb.set_defaults(run=run)
    flags.add_history(verb, commits=100)
    verb.add_argument("--skip", action="append", default=[], metavar="RULE", help="leave a rule out; may be repeated")
    verb.add_argument("--strict", action="store_true", help="exit 1 when anything is found")


def run(options: argparse.Namespace) -> int:
    """Examines, and tells what is found."""
    work = job.here(options)
    settings, graph = work.settings, work.graph
    times = work.times()
    notes: list[str] = []
    try:
        found = checks.ask(graph, settings)
    except EngineError as error:
        found = ()
        notes.append(f"{error.what}; {error.remedy}")
    findings = doctor.examine(graph, survey.facts(settings, times, options.commits), found, options.skip)
    report.console().print((doctor.to_json if options.json else doctor.render)(findings, notes), end="")
    return int(bool(options.strict and findings))
