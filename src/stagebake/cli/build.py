"""Build the image: restore what did not change, rebuild what did."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from stagebake.build.engine import Engine
from stagebake.build.events import Trace
from stagebake.build.run import BuildRequest, build_image
from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_build_choices, add_settings
from stagebake.dockerfile.stages import StageGraph
from stagebake.dockerfile.warnings import secret_warnings, writable_by_others
from stagebake.errors import InputError
from stagebake.explain.after_build import BuildRecord, record_build
from stagebake.explain.expectations import check_build, parse_expectations
from stagebake.files import read_text, refuse_unwritable, write_file
from stagebake.project.github_run import publish_summary, workflow_command
from stagebake.project.image_tags import ImageNames, from_metadata_action, labels_for, tags_for
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
    _refuse_nameless(options, settings)
    if options.report:
        refuse_unwritable(options.report, "--report")
    expected = parse_expectations(options.expect, graph)
    request = _wish(command)
    engine = Engine(settings.root, options.builder)
    engine.check()
    scan = command.create_fingerprinter(command.dockerfile_text)
    prints = scan.later()
    progress = BuildProgress(graph, make_console(stderr=True))
    with progress.running():
        result = build_image(graph, settings, request, engine, command.build_stores, progress)
        progress("saving the ledger", Trace())
        record = record_build(result, graph, scan, prints, command.ledger_store, command.access, command.scope_name)
    warnings = (*_warnings(settings, graph), *command.input_warnings, *record.result.warnings)
    record = replace(record, result=replace(record.result, warnings=warnings))
    _tell(record, command)
    check_build(record.result, record.reasons, expected)
    return 0


def _refuse_nameless(options: argparse.Namespace, settings: Settings) -> None:
    if options.push and settings.image is None:
        raise InputError(
            "--push: there is no image name, and git has no remote at github.com to take it from",
            'set `image = "ghcr.io/owner/name"` under [tool.stagebake], or pass --image',
        )


def _wish(command: Command) -> BuildRequest:
    return BuildRequest(
        dockerfile_text=command.dockerfile_text,
        push=command.options.push,
        load=command.options.load or command.github_run is None,
        forced=command.forced_stages,
        access=command.access,
        names=_names(command),
        override=command.override_text,
    )


def _names(command: Command) -> ImageNames:
    settings, commit = command.settings, command.checkout.commit()
    commit = replace(commit, source=command.github_run.source) if command.github_run else commit
    tags = (settings.tag,) if settings.tag else tags_for(command.trigger, command.default_branch, commit)
    local = () if command.options.push or settings.tag else ("latest",)
    image = settings.image or settings.local_image
    refs = tuple(f"{image}:{tag}" for tag in dict.fromkeys((*local, *tags)))
    texts = {str(path): read_text(path) for path in command.options.bake_file}
    return from_metadata_action(texts, ImageNames(refs=refs, labels=labels_for(commit)))


def _tell(record: BuildRecord, command: Command) -> None:
    """The result for people, for machines, and for GitHub."""
    result, reasons = record.result, record.reasons
    show_build(result, reasons, make_console(), verbose=command.options.verbose)
    if command.options.report:
        write_file(command.options.report, build_report_json(result, reasons))
    if command.github_run:
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
