"""Build the image: restore the stages that did not change, rebuild the others."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from stagebake.build.run import BuildRequest, build_image
from stagebake.buildkit.engine import Engine
from stagebake.buildkit.events import Trace
from stagebake.buildkit.limits import AMPLE_DISK_BYTES, DiskSpace, has_layer_limit, warn_large_stages, warn_low_disk
from stagebake.buildkit.versions import read_versions
from stagebake.cache.scopes import Trigger
from stagebake.ci.github_run import publish_summary, workflow_command
from stagebake.cli.command import Command, read_command
from stagebake.cli.expectations import check_build, parse_expectations
from stagebake.cli.flags import VerbParsers, add_build_choices, add_settings
from stagebake.cli.verbs.report import write_page
from stagebake.dockerfile.stages import StageGraph
from stagebake.dockerfile.warnings import secret_warnings, writable_by_others
from stagebake.errors import BuildFailed, InputError
from stagebake.explain.after_build import BuildRecord, BuildScopes, record_build
from stagebake.explain.ledger import stage_sizes
from stagebake.files import refuse_unwritable, write_file
from stagebake.interrupts import run_later
from stagebake.naming.image_tags import ImageNames
from stagebake.project.settings import Settings
from stagebake.report.github_summary import render_summary, usual_stages
from stagebake.report.progress import BuildProgress
from stagebake.report.report_file import parse_report
from stagebake.report.tables import build_report_json, make_console, show_build


def add_build_parser(verbs: VerbParsers) -> None:
    """Add the verb `build` and its flags."""
    verb = verbs.add_parser("build", help="build the image: restore unchanged stages, rebuild the others")
    verb.set_defaults(run=run_build)
    add_settings(verb)
    output = verb.add_mutually_exclusive_group()
    output.add_argument("--push", action="store_true", help="push the image, then the caches of the rebuilt stages")
    output.add_argument("--load", action="store_true", help="load the image into the engine (default outside GitHub)")
    add_build_choices(verb)
    verb.add_argument("--builder", metavar="NAME", help="buildx builder (default: the current one)")
    verb.add_argument(
        "--bake-file", action="append", default=[], type=Path, metavar="FILE",
        help="read tags and labels from a bake file of docker/metadata-action; repeatable",
    )  # fmt: skip
    verb.add_argument("--report", type=Path, metavar="FILE.json", help="write the result as JSON")
    verb.add_argument("--html", type=Path, metavar="FILE", help="write the result as an HTML page")
    verb.add_argument("--open", action="store_true", help="open that page in the browser")


def run_build(options: argparse.Namespace) -> int:
    """Build the image, record the build in the ledger, and report the result."""
    command = read_command(options)
    settings = command.settings
    graph = command.graph
    _refuse_nameless_push(command)
    if options.report:
        refuse_unwritable(options.report, "--report")
    if options.html:
        refuse_unwritable(options.html, "--html")
    elif options.open:
        raise InputError("--open: missing page", "name the page to write: --html build.html --open")
    expected = parse_expectations(options.expect, graph)
    engine = Engine(settings.root, options.builder)
    checked = run_later(engine.check_versions)  # docker takes as long as everything else before the build
    disk_space = run_later(engine.read_disk_space)
    image_names = command.choose_image_names()
    request = _make_request(command, image_names.names)
    checked.result()
    warn_of_limits(command, disk_space.result(), image_names.names)
    try:
        record = _build_and_record(command, request, engine)
    except BuildFailed as error:
        error.warnings = command.input_warnings
        raise
    warnings = (
        *_input_warnings(settings, graph),
        *command.input_warnings,
        *_trust_warnings(command),
        *image_names.warnings,
        *record.result.warnings,
    )
    record = replace(record, result=replace(record.result, warnings=warnings))
    _report_build(record, command)
    check_build(record.result, record.reasons, expected)
    return 0


def _build_and_record(command: Command, request: BuildRequest, engine: Engine) -> BuildRecord:
    """Build the image while the fingerprints of its inputs are computed, then write both into the ledger."""
    graph = command.graph
    fingerprinter = command.create_fingerprinter(command.dockerfile_text)
    prints = fingerprinter.fingerprint_later()
    progress = BuildProgress(graph, make_console(stderr=True))
    with progress.track_build():
        result = build_image(graph, command.settings, request, engine, command.build_stores, progress)
        progress("saving the ledger", Trace())
        versions = read_versions(command.options.builder)
        return record_build(
            replace(result, versions=versions),
            graph,
            fingerprinter,
            prints,
            command.ledger_store,
            BuildScopes(access=command.access, name=command.scope_name, too_old=command.too_old),
        )


def warn_of_limits(command: Command, disk: DiskSpace | None, names: ImageNames) -> None:
    """Print before the build what the ledger says about the free disk and the limits of the registry.

    `disk` is None where it is unknown. Where it is ample and the registry has no known limit, the ledger is not read.
    """
    low = disk is not None and disk.free < AMPLE_DISK_BYTES
    limited = command.options.push and has_layer_limit(names.refs)
    if not low and not limited:
        return
    stage_bytes = stage_sizes(command.ledger_store.read_ledgers(command.access), command.graph)
    warnings: list[str] = []
    if disk is not None and low:
        warnings += warn_low_disk(disk, stage_bytes)
    if limited:
        warnings += warn_large_stages(stage_bytes)
    for warning in warnings:
        make_console(stderr=True).print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


def _refuse_nameless_push(command: Command) -> None:
    if command.options.push and command.settings.image is None:
        raise InputError(
            f"--push: the image has no name: {command.default_image.reason}",
            'set `image = "ghcr.io/owner/name"` under [tool.stagebake], or pass --image',
        )


def _make_request(command: Command, names: ImageNames) -> BuildRequest:
    options = command.options
    return BuildRequest(
        access=command.access,
        names=names,
        dockerfile_text=command.dockerfile_text,
        push=options.push,
        load=options.load or not command.on_github,
        forced=command.stages_to_force,
        override=command.override_text,
    )


def _trust_warnings(command: Command) -> tuple[str, ...]:
    """Return warnings about what is not pushed or saved, because git or the CI do not say enough."""
    warnings = []
    refusal = command.checkout.find_refusal()
    if refusal:
        warnings.append(refusal)
    if command.options.push and command.access.writes is None and command.trigger == Trigger():
        reason = command.checkout.explain_missing_branch()
        warnings.append(f"no cache is saved: {reason} and no CI variable names the branch; name it: --scope BRANCH")
    return tuple(warnings)


def _report_build(record: BuildRecord, command: Command) -> None:
    """Show the result on the console; write it as JSON, and for GitHub Actions, where that is wanted."""
    show_build(record.result, record.reasons, make_console(), verbose=command.options.verbose)
    report = build_report_json(record.result, record.reasons)
    if command.options.report:
        write_file(command.options.report, report)
    if command.options.html:
        write_page(command.options.html, [parse_report(report)], command.settings, open_browser=command.options.open)
    if command.on_github:
        _publish_result(record, command)


def _publish_result(record: BuildRecord, command: Command) -> None:
    """Write the step summary, the outputs and the warnings of GitHub Actions."""
    result = record.result
    settings = command.settings
    usual = usual_stages(record.ledgers, command.graph)
    summary = render_summary(result, record.reasons, command.graph, settings.budgets, settings.mirror, usual)
    rebuilt = [stage.name for stage in result.stages if stage.status == "rebuilt"]
    outputs = {
        "digest": result.digest or "",
        "tags": ",".join(result.refs),
        "rebuilt": ",".join(rebuilt),
    }
    publish_summary(os.environ, summary, outputs)
    for warning in result.warnings:
        print(workflow_command("warning", warning, os.environ))


def _input_warnings(settings: Settings, graph: StageGraph) -> tuple[str, ...]:
    """Return warnings about the Dockerfile that do not depend on the result of the build."""
    warnings = list(secret_warnings(graph))
    dockerfile = settings.root / settings.dockerfile
    if writable_by_others(dockerfile.stat().st_mode):
        warnings.append(
            "other users can write to files here (umask 002?): file modes are part of the cache keys, so the caches of "
            "a checkout with umask 022, such as GitHub's, do not match; run: chmod -R go-w ."
        )
    return tuple(warnings)
