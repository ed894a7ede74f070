"""What the next build would restore and rebuild, and why, without building."""

from __future__ import annotations

import argparse
from dataclasses import replace

from stagebake import cache, compose, evidence, history, outlook, plan, report
from stagebake.cache import Shelf
from stagebake.errors import InputError
from stagebake.history import Objects, Snapshot
from stagebake.scan import Prints
from stagebake.verbs import flags, job
from stagebake.verbs.job import Job


def add(verbs: flags.Verbs) -> None:
    """Its flags."""
    verb = verbs.add_parser("plan", help="what the next build would restore and rebuild, and why, without building")
    verb.set_defaults(run=run)
    flags.add_settings(verb)
    flags.add_choices(verb)
    verb.add_argument("--push", action="store_true", help="plan a build that is pushed")
    verb.add_argument("--since", metavar="GITREF", help="what the changes since this commit would rebuild")
    verb.add_argument("--json", action="store_true", help="for machines")


def run(options: argparse.Namespace) -> int:
    """Plans, and shows the plan."""
    work = job.here(options)
    graph = work.graph
    if options.since == "":
        raise InputError("--since: no commit is named", "name one: --since origin/main")
    expected = outlook.expectations(options.expect, graph)
    caches = work.stores.caches
    shelf = cache.read(caches, graph, work.access) if caches and not options.since else Shelf()
    question = plan.Question(
        graph=graph,
        prints=work.scan(work.text).of_folder(),
        ledgers=work.ledgers.read(work.access),
        caches=plan.Caches(
            available=evidence.available(compose.without_blobs(held.cache, shelf.unseen) for held in shelf.caches),
            stages=frozenset(name for name in graph.names if shelf.has(name)),
            broken=frozenset(shelf.healed),
            scope=work.scope,
            unread=shelf.unread,
        ),
        forced=work.forced,
        since=_since(options.since, work) if options.since else None,
    )
    made = replace(plan.make(question), warnings=(*work.warnings, *shelf.warnings))
    if options.json:
        print(plan.to_json(made), end="")
    else:
        outlook.show(made, work.settings.budgets, report.console(), verbose=options.verbose)
    outlook.hold_plan(made, expected)
    return 0


def _since(reference: str, work: Job) -> Prints:
    """The fingerprints of a commit's files, with the settings of now."""
    settings = work.settings
    top, commit = work.checkout.top(), work.checkout.resolve(reference)
    if top is None or commit is None:
        raise InputError(f"--since: git knows no commit `{reference}` here", "fetch it, or name another")
    path, folder = (history.place(settings.root, top, name) for name in (settings.dockerfile, settings.context))
    with Objects(top) as objects:
        snapshot = Snapshot(objects=objects, commit=commit, folder=folder, dockerfile=path)
        if snapshot.text is None:
            raise InputError(f"--since: {reference} has no {path}", "name a commit that has the Dockerfile")
        return work.scan(snapshot.text).of_commit(snapshot)
