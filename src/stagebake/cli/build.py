"""Build the image: restore what did not change, rebuild what did."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from stagebake.build.engine import Engine
from stagebake.build.events import Trace
from stagebake.build.run import BuildRequest, build_image
from stagebake.cache.scopes import Trigger
from stagebake.ci.github_run import publish_summary, workflow_command
from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_build_choices, add_settings
from stagebake.cli.image_refs import choose_names
from stagebake.dockerfile.stages import StageGraph
from stagebake.dockerfile.warnings import secret_warnings, writable_by_others
from stagebake.errors import InputError
from stagebake.explain.after_build import BuildRecord, record_build
from stagebake.explain.expectations import check_build, parse_expectations
from stagebake.files import refuse_unwritable, write_file
from stagebake.project.image_tags import ImageNames
from stagebake.project.settings import Settings
from stagebake.report.github_summary import render_summary, usual_stages
from stagebake.report.progress import BuildProgress
from stagebake.report.tables import build_report_json, make_console, show_build


def add_build_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("build", help="build the image: restore what did not change, rebuild what did")
    verb.set_defaults(run=run_build)
    add_settings(verb)
    where = verb.add_mutually_exclusive_group()
    where.add_argument("--push", action="store_true", help="push the image, then the caches of what was rebuilt")
    where.add_argument("--load", action="store_true", help="load the image into the engine (default, but on GitHub)")
    add_build_choices(verb)
    verb.add_argument("--builder", metavar="NAME", help="the buildx builder (default: the current one)")
    verb.add_argument(
        "--bake-file", action="append", default=[], type=Path, metavar="FILE",
        help="take tags and labels from a file of docker/metadata-action; may be given several times",
    )  # fmt: skip
    verb.add_argument(
        "--secret", action="append", default=[], metavar="id=ID,env=NAME|src=FILE",
        help="a secret for RUN --mount=type=secret; may be given several times",
    )  # fmt: skip
    verb.add_argument("--report", type=Path, metavar="FILE.json", help="write what was done, for machines")


def run_build(options: argparse.Namespace) -> int:
    """Builds, records what was built, and tells it."""
    command = read_command(options)
    settings, graph = command.settings, command.graph
    _refuse_nameless(command)
    if options.report:
        refuse_unwritable(options.report, "--report")
    expected = parse_expectations(options.expect, graph)
    chosen = choose_names(command)
    request = _wish(command, chosen.names)
    engine = Engine(settings.root, options.builder)
    engine.check()
    scan = command.create_fingerprinter(command.dockerfile_text)
    prints = scan.later()
    progress = BuildProgress(graph, make_console(stderr=True))
    with progress.track_build():
        result = build_image(graph, settings, request, engine, command.build_stores, progress)
        progress("saving the ledger", Trace())
        record = record_build(result, graph, scan, prints, command.ledger_store, command.access, command.scope_name)
    about_input = (*_warnings(settings, graph), *command.input_warnings, *_trust_warnings(command), *chosen.warnings)
    warnings = (*about_input, *record.result.warnings)
    record = replace(record, result=replace(record.result, warnings=warnings))
    _tell(record, command)
    check_build(record.result, record.reasons, expected)
    return 0


def _refuse_nameless(command: Command) -> None:
    if command.options.push and command.settings.image is None:
        raise InputError(
            f"--push: the image has no name: {command.default_image.reason}",
            'set `image = "ghcr.io/owner/name"` under [tool.stagebake], or pass --image',
        )


def _wish(command: Command, names: ImageNames) -> BuildRequest:
    return BuildRequest(
        dockerfile_text=command.dockerfile_text,
        push=command.options.push,
        load=command.options.load or not command.on_github,
        forced=command.forced_stages,
        access=command.access,
        names=names,
        override=command.override_text,
    )


def _trust_warnings(command: Command) -> tuple[str, ...]:
    """Return warnings about what is not pushed or saved because git and the CI say too little."""
    found = []
    if refusal := command.checkout.refusal():
        found.append(refusal)
    if command.options.push and command.access.writes is None and command.trigger == Trigger():
        found.append("no cache is saved: HEAD is detached and no CI variable names the branch; name it: --scope BRANCH")
    return tuple(found)


def _tell(record: BuildRecord, command: Command) -> None:
    """The result for people, for machines, and for GitHub."""
    result, reasons = record.result, record.reasons
    show_build(result, reasons, make_console(), verbose=command.options.verbose)
    if command.options.report:
        write_file(command.options.report, build_report_json(result, reasons))
    if command.on_github:
        settings = command.settings
        usual = usual_stages(record.ledgers, command.graph)
        outputs = {
            "digest": result.digest or "",
            "tags": ",".join(result.refs),
            "rebuilt": ",".join(stage.name for stage in result.stages if stage.status == "rebuilt"),
        }
        publish_summary(
            os.environ,
            render_summary(result, reasons, command.graph, settings.budgets, settings.mirror, usual),
            outputs,
        )
        for warning in result.warnings:
            print(workflow_command("warning", warning, os.environ))


def _warnings(settings: Settings, graph: StageGraph) -> tuple[str, ...]:
    """What is worth a word about the input, whatever the build did."""
    found = list(secret_warnings(graph))
    if writable_by_others((settings.root / settings.dockerfile).stat().st_mode):
        found.append(
            "files here are writable by others than you (umask 002?): their modes are part of the cache keys, so the "
            "caches of a checkout under umask 022, such as GitHub's, are missed; run: chmod -R go-w ."
        )
    return tuple(found)
