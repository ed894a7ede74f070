"""Verbs to functions; the one place that knows flags, exit codes and how an error looks."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from stagebake import (
    actions,
    advice,
    bakefile,
    cache,
    checks,
    config,
    dockerfile,
    doctor,
    evidence,
    files,
    forecast,
    github,
    naming,
    outlook,
    packages,
    picture,
    plan,
    purge,
    recall,
    report,
    scopes,
    summary,
    survey,
    workflow,
)
from stagebake.backends import BACKENDS
from stagebake.build import Stores, Wish, build
from stagebake.cache import Shelf
from stagebake.config import Settings
from stagebake.context import Tree
from stagebake.dockerfile import StageGraph
from stagebake.engine import Engine
from stagebake.errors import EngineError, InputError, StagebakeError
from stagebake.events import Trace
from stagebake.git import Checkout
from stagebake.init import init
from stagebake.interrupts import Interrupted, raised
from stagebake.layout import Layout
from stagebake.naming import Names
from stagebake.outcome import BuildResult
from stagebake.packages import Packages
from stagebake.recall import Ledgers
from stagebake.record import record
from stagebake.registry import Registry, credentials
from stagebake.scan import Prints, Scan
from stagebake.scopes import Access, Occasion
from stagebake.summary import Usual

_OUR_BUG = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns the exit code: 0 good, 1 the build failed, 2 your input, 3 our bug, 4 no engine, 130 ^C, 143 SIGTERM.
    """
    with raised():
        return _main(arguments, report.console(stderr=True))


def _main(arguments: Sequence[str] | None, errors: Console) -> int:
    try:
        options = _parser().parse_args(arguments)
        return int(options.run(options) or 0)
    except StagebakeError as error:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            print(github.annotation("error", f"{error.what}\n{error.remedy}", os.environ))
            github.publish(os.environ, summary.failure(error), {})
        for line in error.log:
            errors.print(f"  {line}", style="dim")
        _say(errors, error.what, error.remedy)
        return error.exit_code
    except Interrupted as interrupt:
        for note in getattr(interrupt, "__notes__", ("interrupted",)):
            errors.print(note)
        return interrupt.exit_code
    except Exception:  # the last handler: whatever comes here is a bug of ours
        errors.print(traceback.format_exc())
        _say(errors, "this is a bug in stagebake", "please report it with the lines above")
        return _OUR_BUG


def _say(errors: Console, what: str, remedy: str) -> None:
    errors.print(Text.assemble(("error", "bold red"), f": {what}"))
    errors.print(Text.assemble(("  →", "bold"), f" {remedy}"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stagebake", description="Per-stage Docker build caches that work.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("build", help="build the image: restore what did not change, rebuild what did")
    verb.set_defaults(run=_build)
    _add_settings(verb)
    where = verb.add_mutually_exclusive_group()
    where.add_argument("--push", action="store_true", help="push the image, then the caches of what was rebuilt")
    where.add_argument("--load", action="store_true", help="load the image into the engine (default, but on GitHub)")
    _add_choices(verb)
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

    verb = verbs.add_parser("plan", help="what the next build would restore and rebuild, and why, without building")
    verb.set_defaults(run=_plan)
    _add_settings(verb)
    _add_choices(verb)
    verb.add_argument("--push", action="store_true", help="plan a build that is pushed")
    verb.add_argument("--since", metavar="GITREF", help="what the changes since this commit would rebuild")
    verb.add_argument("--json", action="store_true", help="for machines")

    verb = verbs.add_parser("generate", help=f"write {bakefile.NAME} from the Dockerfile")
    verb.set_defaults(run=_generate)
    _add_settings(verb)
    verb.add_argument("--check", action="store_true", help="write nothing; fail with a diff when the file is stale")

    verb = verbs.add_parser("cache", help="look after the caches in the registry")
    purging = verb.add_subparsers(required=True, metavar="WHAT").add_parser(
        "purge", help="delete the caches of one branch or pull request, and nothing that another tag names"
    )
    purging.set_defaults(run=_purge)
    purging.add_argument("--image", metavar="REF", help="repository of the image and its caches")
    purging.add_argument("--scope", required=True, metavar="NAME", help="whose: a branch, or `pr-7` for a pull request")
    purging.add_argument("--dry-run", action="store_true", help="delete nothing; say what would be")

    verb = verbs.add_parser("init", help="make a repository with a Dockerfile ready for `nox -s build`")
    verb.set_defaults(run=_init)
    _add_settings(verb)
    verb.add_argument("--yes", action="store_true", help="overwrite without asking")
    verb.add_argument(
        "--branch", action="append", default=[], metavar="NAME",
        help="another branch whose pushes the workflow builds, beside the default one; may be given several times",
    )  # fmt: skip
    verb.add_argument("--make-room", action="store_true", help="let the workflow free some 25 GB of the runner's disk")

    verb = verbs.add_parser("doctor", help="what in the Dockerfile defeats the caches, and the lines to use instead")
    verb.set_defaults(run=_doctor)
    _add_history(verb, commits=100)
    verb.add_argument("--skip", action="append", default=[], metavar="RULE", help="leave a rule out; may be repeated")
    verb.add_argument("--strict", action="store_true", help="exit 1 when anything is found")

    verb = verbs.add_parser("forecast", help="what the last pushes would have cost with each way of caching")
    verb.set_defaults(run=_forecast)
    _add_history(verb, commits=200)
    verb.add_argument("--svg", type=Path, metavar="FILE.svg", help="draw a picture, too")
    return parser


def _add_history(parser: argparse.ArgumentParser, *, commits: int) -> None:
    _add_settings(parser)
    parser.add_argument(
        "--commits", type=_count, default=commits, metavar="N", help=f"look at the last N (default: {commits})"
    )
    parser.add_argument(
        "--seconds", action="append", default=[], metavar="STAGE=SECONDS,…", help="how long stages take to build"
    )
    parser.add_argument(
        "--times", type=Path, metavar="FILE.json", help="take these from the --report of a build (default: the ledger)"
    )
    parser.add_argument("--json", action="store_true", help="print it for machines")
    parser.set_defaults(push=False, scope=None)


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a count")
    return int(text)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="REF", help="repository of the image and its caches, with or without :TAG")
    parser.add_argument("--cache", metavar="WHERE", help=f"where the caches lie: {', '.join(BACKENDS)}")
    parser.add_argument("--target", metavar="STAGE", help="the stage to build (default: the last)")
    parser.add_argument(
        "--context", action="append", default=[], metavar="NAME=VALUE",
        help="put something in the place of an image, as bake's `contexts` does; may be given several times",
    )  # fmt: skip


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """What a build and the plan of one are asked alike."""
    parser.add_argument(
        "--no-cache", nargs="*", metavar="STAGE",
        help="rebuild these stages and what depends on them; all if none is named",
    )  # fmt: skip
    parser.add_argument(
        "--scope", metavar="NAME", help="whose caches are read first and written (default: the branch's)"
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="restore:STAGE,…",
        help="exit 1 when these stages are not restored (or `rebuild:STAGE,…` not rebuilt)",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="all reasons, not three for each stage")


def _settings(options: argparse.Namespace) -> Settings:
    flags: dict[str, Any] = {"image": options.image, "cache": options.cache, "target": options.target}
    flags["contexts"] = config.pairs(options.context, "--context") or None
    flags["secrets"] = tuple(getattr(options, "secret", ())) or None
    return config.load(Path(), os.environ, flags)


def _graph(settings: Settings) -> StageGraph:
    return _parsed(settings, _dockerfile(settings))


def _dockerfile(settings: Settings) -> str:
    path = settings.root / settings.dockerfile
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no Dockerfile", "name it under `dockerfile` in the settings") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:1: not readable as text: {error}", "is this the Dockerfile?") from None


def _parsed(settings: Settings, text: str) -> StageGraph:
    return dockerfile.parse(
        text,
        path=settings.dockerfile,
        target=settings.target,
        target_origin=settings.origins.get("target"),
        args={**_epoch(), **settings.args},
        platforms=settings.platforms,
        contexts=settings.contexts,
    )


def _epoch() -> dict[str, str]:
    """What buildx makes a build argument of by itself (docker/buildx, build/build.go)."""
    return {name: os.environ[name] for name in ("SOURCE_DATE_EPOCH",) if name in os.environ}


def _named(settings: Settings, checkout: Checkout) -> Settings:
    """The settings with the image's name: where they give none, GitHub's repository or the git remote does."""
    return settings if settings.image else settings.with_image(github.image(os.environ) or checkout.image())


def _build(options: argparse.Namespace) -> int:
    checkout, run = Checkout(Path()), github.run(os.environ)
    settings = _named(_settings(options), checkout)
    graph = _graph(settings)
    if options.push and settings.image is None:
        raise InputError(
            "--push: there is no image name, and git has no remote at github.com to take it from",
            'set `image = "ghcr.io/owner/name"` under [tool.stagebake], or pass --image',
        )
    expected = outlook.expectations(options.expect, graph)
    wish = _wish(options, settings, graph, checkout, run)
    stores = _stores(settings)
    engine = Engine(settings.root, options.builder)
    engine.check()
    scan = _scan(settings, _dockerfile(settings), wish.override)
    prints = scan.later()
    progress = report.Progress(graph, report.console(stderr=True))
    scope = wish.access.reads[0].name or _default_branch(checkout, run)
    with progress.running():
        result = build(graph, settings, wish, engine, stores, progress)
        progress("saving the ledger", Trace())
        result, known = record(result, graph, scan, prints, _ledgers(settings, stores), wish.access, scope)
    result = replace(result, warnings=(*_warnings(settings, graph), *result.warnings))
    _tell(result, options, settings, run, summary.usual(known, graph))
    outlook.hold_build(result, expected)
    return 0


def _plan(options: argparse.Namespace) -> int:
    checkout, run = Checkout(Path()), github.run(os.environ)
    settings = _named(_settings(options), checkout)
    graph = _graph(settings)
    expected = outlook.expectations(options.expect, graph)
    stores, override = _stores(settings), _override(settings)
    access = _access(options, checkout, run)
    shelf = cache.read(stores.caches, graph, access) if stores.caches and not options.since else Shelf()
    question = plan.Question(
        graph=graph,
        prints=_scan(settings, _dockerfile(settings), override).of_folder(),
        ledgers=_ledgers(settings, stores).read(access),
        caches=plan.Caches(
            available=evidence.available(held.cache for held in shelf.caches),
            stages=frozenset(name for name in graph.names if shelf.has(name)),
            broken=frozenset(shelf.healed),
            scope=access.reads[0].name or _default_branch(checkout, run),
        ),
        forced=_forced(options.no_cache, graph),
        since=_since(options.since, settings, checkout, override) if options.since else None,
    )
    made = replace(plan.make(question), warnings=shelf.warnings)
    if options.json:
        print(plan.to_json(made), end="")
    else:
        outlook.show(made, settings.budgets, report.console(), verbose=options.verbose)
    outlook.hold_plan(made, expected)
    return 0


def _since(reference: str, settings: Settings, checkout: Checkout, override: str | None) -> Prints:
    """The fingerprints of a commit's files, with the settings of now."""
    top, commit = checkout.top(), checkout.resolve(reference)
    if top is None or commit is None:
        raise InputError(f"--since: git knows no commit `{reference}` here", "fetch it, or name another")
    path = os.path.relpath(settings.root / settings.dockerfile, top)
    tree = Tree(top, commit, os.path.relpath(settings.root / settings.context, top), path)
    text = tree.read(path)
    if text is None:
        raise InputError(f"--since: {reference} has no {path}", "name a commit that has the Dockerfile")
    return _scan(settings, text, override).of_commit(tree)


def _scan(settings: Settings, text: str, override: str | None) -> Scan:
    each = [replace(settings, platforms=(platform,)) for platform in settings.platforms] or [settings]
    graphs = [_parsed(one, text) for one in each]
    return Scan(graphs=graphs, settings=settings, override=override, memory=recall.folder(os.environ) / "files")


def _ledgers(settings: Settings, stores: Stores) -> Ledgers:
    return Ledgers(settings.image or str(settings.root.resolve()), stores.caches, recall.folder(os.environ))


def _stores(settings: Settings) -> Stores:
    """Where the image and its caches lie, as the settings say."""
    images = Registry(settings.image) if settings.image else None
    name = settings.image or settings.local_image
    if settings.cache == "local":
        return Stores(images=images, caches=Layout(settings.cache_folder / name))
    if settings.cache == "gha":
        return Stores(images=images, caches=actions.connect(name, os.environ), lacking=actions.UNREACHED)
    return Stores(images=images, caches=images)


def _wish(
    options: argparse.Namespace, settings: Settings, graph: StageGraph, checkout: Checkout, run: github.Run | None
) -> Wish:
    occasion = _occasion(checkout, run)
    default_branch = _default_branch(checkout, run)
    return Wish(
        push=options.push,
        load=options.load or run is None,
        forced=_forced(options.no_cache, graph),
        access=_access(options, checkout, run),
        names=_names(options, settings, occasion, default_branch, checkout, run),
        override=_override(settings),
    )


def _occasion(checkout: Checkout, run: github.Run | None) -> Occasion:
    return run.occasion if run else Occasion(branch=checkout.branch())


def _default_branch(checkout: Checkout, run: github.Run | None) -> str:
    return (run and run.default_branch) or checkout.default_branch()


def _access(options: argparse.Namespace, checkout: Checkout, run: github.Run | None) -> Access:
    occasion = _scoped(_occasion(checkout, run), options.scope)
    return scopes.access(occasion, _default_branch(checkout, run), push=options.push)


def _override(settings: Settings) -> str | None:
    path = settings.root / bakefile.OVERRIDE
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _scoped(occasion: Occasion, scope: str | None) -> Occasion:
    """--scope names another branch's caches, but never gives a stranger's code more rights."""
    return Occasion(branch=scope) if scope and occasion.trusted else occasion


def _names(
    options: argparse.Namespace,
    settings: Settings,
    occasion: Occasion,
    default_branch: str,
    checkout: Checkout,
    run: github.Run | None,
) -> Names:
    commit = checkout.commit()
    commit = replace(commit, source=run.source) if run else commit
    tags = (settings.tag,) if settings.tag else naming.tags(occasion, default_branch, commit)
    local = () if options.push or settings.tag else ("latest",)
    image = settings.image or settings.local_image
    refs = tuple(f"{image}:{tag}" for tag in dict.fromkeys((*local, *tags)))
    ours = Names(refs=refs, labels=naming.labels(commit))
    return naming.from_metadata_action({str(path): _read(path) for path in options.bake_file}, ours)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:1: not readable: {error}", "give the path of a file") from None


def _tell(
    result: BuildResult,
    options: argparse.Namespace,
    settings: Settings,
    run: github.Run | None,
    usual: Mapping[str, Usual],
) -> None:
    """The result for people, for machines, and for GitHub."""
    report.show(result, report.console(), verbose=options.verbose)
    if options.report:
        files.write(options.report, report.to_json(result))
    if run:
        outputs = {
            "digest": result.digest or "",
            "tags": ",".join(result.refs),
            "rebuilt": ",".join(stage.name for stage in result.stages if stage.status == "rebuilt"),
        }
        github.publish(os.environ, summary.render(result, settings.budgets, settings.mirror, usual), outputs)
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


def _forced(names: list[str] | None, graph: StageGraph) -> frozenset[str]:
    if names is None:
        return frozenset()
    return frozenset(graph.find(name, "--no-cache").name for name in names) if names else frozenset(graph.names)


def _generate(options: argparse.Namespace) -> int:
    settings = _named(_settings(options), Checkout(Path()))
    graph = _graph(settings)
    _refuse_foreign(settings.root / bakefile.NAME)
    texts = {settings.root / bakefile.NAME: bakefile.render(graph, settings)}
    runs = settings.root / workflow.NAME
    if runs.is_file():
        texts[runs] = workflow.with_stages(_read(runs), graph)
    for path, text in texts.items():
        _update(path, text, check=options.check)
    return 0


def _refuse_foreign(path: Path) -> None:
    if path.is_file() and not bakefile.is_ours(_read(path)):
        raise InputError(
            f"{path}:1: this bake file was not written by stagebake",
            f"rename it to {bakefile.OVERRIDE}, which is laid over the generated one; or `stagebake init --yes`",
        )


def _update(path: Path, text: str, *, check: bool) -> None:
    difference = files.difference(path, text)
    console = report.console()
    if not difference:
        console.print(f"{path} is up to date")
    elif check:
        console.print(difference, end="")
        raise InputError(f"{path} is stale", "run `nox -s generate` and commit what it writes")
    else:
        files.write(path, text)
        console.print(f"wrote {path}")


def _purge(options: argparse.Namespace) -> int:
    checkout, run = Checkout(Path()), github.run(os.environ)
    image = _named(config.load(Path(), os.environ, {"image": options.image}), checkout).image
    if image is None:
        raise InputError("cache purge: there is no image name", "set `image` under [tool.stagebake], or pass --image")
    default_branch = (run and run.default_branch) or checkout.default_branch()
    store = _packages(image) if image.startswith(f"{packages.HOST}/") else Registry(image)
    purged = purge.purge(store, purge.scope_of(options.scope, default_branch), dry_run=options.dry_run)
    report.show_purged(purged, image, report.console(), dry_run=options.dry_run)
    return 0


def _packages(image: str) -> Packages:
    """GitHub's registry deletes nothing itself; its API takes the token that docker is logged in with."""
    login = credentials(packages.HOST)
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or (login and login[1])
    return Packages(image, token, os.environ)


def _init(options: argparse.Namespace) -> int:
    checkout = Checkout(Path())
    settings = _named(_settings(options), checkout)
    graph = _graph(settings)
    branches = tuple(dict.fromkeys((checkout.default_branch(), *options.branch)))
    return init(
        graph, settings, report.console(), overwrite=options.yes, branches=branches, make_room=options.make_room
    )


def _doctor(options: argparse.Namespace) -> int:
    settings = _settings(options)
    graph = _graph(settings)
    times = _times(options, settings, graph)
    notes: list[str] = []
    try:
        found = checks.ask(graph, settings)
    except EngineError as error:
        found = ()
        notes.append(f"{error.what}; {error.remedy}")
    findings = doctor.examine(graph, survey.facts(settings, times, options.commits), found, options.skip)
    report.console().print((doctor.to_json if options.json else doctor.render)(findings, notes), end="")
    return int(bool(options.strict and findings))


def _times(options: argparse.Namespace, settings: Settings, graph: StageGraph) -> dict[str, float]:
    """The seconds of stages: what is given, and of the others what the ledger knows."""
    times = survey.seconds(options.seconds, options.times, graph)
    checkout, run = Checkout(Path()), github.run(os.environ)
    named = _named(settings, checkout)
    stores = _stores(named)
    for known in (replace(stores, caches=None), stores):  # the registry is asked last
        if not {stage.name for stage in graph.needed()} <= times.keys():
            times = survey.learned(_ledgers(named, known).read(_access(options, checkout, run))) | times
    return times


def _forecast(options: argparse.Namespace) -> int:
    settings = _settings(options)
    graph = _graph(settings)
    times = survey.need_all(graph, _times(options, settings, graph))
    past = survey.past(settings, options.commits, times)
    if options.svg:
        files.write(options.svg, picture.draw(past))
    text = (forecast.to_json if options.json else forecast.render)(past, settings.budgets)
    report.console().print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
