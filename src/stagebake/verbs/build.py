"""Build the image: restore what did not change, rebuild what did."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stagebake import advice, files, github, naming, outlook, report, summary
from stagebake.build import Wish, build
from stagebake.config import Settings
from stagebake.dockerfile import StageGraph
from stagebake.engine import Engine
from stagebake.errors import InputError
from stagebake.events import Trace
from stagebake.naming import Names
from stagebake.outcome import BuildResult
from stagebake.record import record
from stagebake.summary import Usual
from stagebake.verbs import flags, job
from stagebake.verbs.job import Job


def add(verbs: flags.Verbs) -> None:
    """Its flags."""
    verb = verbs.add_parser("build", help="build the image: restore what did not change, rebuild what did")
    verb.set_defaults(run=run)
    flags.add_settings(verb)
    where = verb.add_mutually_exclusive_group()
    where.add_argument("--push", action="store_true", help="push the image, then the caches of what was rebuilt")
    where.add_argument("--load", action="store_true", help="load the image into the engine (default, but on GitHub)")
    flags.add_choices(verb)
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


def run(options: argparse.Namespace) -> int:
    """Builds, records what was built, and tells it."""
    work = job.here(options)
    settings, graph = work.settings, work.graph
    _refuse_nameless(options, settings)
    if options.report:
        files.refuse_unwritable(options.report, "--report")
    expected = outlook.expectations(options.expect, graph)
    wish = _wish(work)
    engine = Engine(settings.root, options.builder)
    engine.check()
    scan = work.scan(work.text)
    prints = scan.later()
    progress = report.Progress(graph, report.console(stderr=True))
    with progress.running():
        result = build(graph, settings, wish, engine, work.stores, progress)
        progress("saving the ledger", Trace())
        result, known = record(result, graph, scan, prints, work.ledgers, work.access, work.scope)
    result = replace(result, warnings=(*_warnings(settings, graph), *work.warnings, *result.warnings))
    _tell(result, work, summary.usual(known, graph))
    outlook.hold_build(result, expected)
    return 0


def _refuse_nameless(options: argparse.Namespace, settings: Settings) -> None:
    if options.push and settings.image is None:
        raise InputError(
            "--push: there is no image name, and git has no remote at github.com to take it from",
            'set `image = "ghcr.io/owner/name"` under [tool.stagebake], or pass --image',
        )


def _wish(work: Job) -> Wish:
    return Wish(
        push=work.options.push,
        load=work.options.load or work.run is None,
        forced=work.forced,
        access=work.access,
        names=_names(work),
        override=work.override,
    )


def _names(work: Job) -> Names:
    settings, commit = work.settings, work.checkout.commit()
    commit = replace(commit, source=work.run.source) if work.run else commit
    tags = (settings.tag,) if settings.tag else naming.tags(work.occasion, work.default_branch, commit)
    local = () if work.options.push or settings.tag else ("latest",)
    image = settings.image or settings.local_image
    refs = tuple(f"{image}:{tag}" for tag in dict.fromkeys((*local, *tags)))
    texts = {str(path): files.read(path) for path in work.options.bake_file}
    return naming.from_metadata_action(texts, Names(refs=refs, labels=naming.labels(commit)))


def _tell(result: BuildResult, work: Job, usual: Mapping[str, Usual]) -> None:
    """The result for people, for machines, and for GitHub."""
    report.show(result, report.console(), verbose=work.options.verbose)
    if work.options.report:
        files.write(work.options.report, report.to_json(result))
    if work.run:
        settings = work.settings
        outputs = {
            "digest": result.digest or "",
            "tags": ",".join(result.refs),
            "rebuilt": ",".join(stage.name for stage in result.stages if stage.status == "rebuilt"),
        }
        github.publish(
            os.environ, summary.render(result, work.graph, settings.budgets, settings.mirror, usual), outputs
        )
        for warning in result.warnings:
            print(github.annotation("warning", warning, os.environ))


def _warnings(settings: Settings, graph: StageGraph) -> tuple[str, ...]:
    """What is worth a word about the input, whatever the build did."""
    found = list(advice.secrets_in_view(graph))
    if advice.modes_differ((settings.root / settings.dockerfile).stat().st_mode):
        found.append(
            "files here are writable by others than you (umask 002?): their modes are part of the cache keys, so the "
            "caches of a checkout under umask 022, such as GitHub's, are missed; run: chmod -R go-w ."
        )
    return tuple(found)
