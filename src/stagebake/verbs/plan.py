"""What the next build would restore and rebuild, and why, without building."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from stagebake import cache, compose, context, evidence, history, outlook, plan, report
from stagebake.cache import Shelf
from stagebake.context import Folder
from stagebake.errors import InputError
from stagebake.history import Before, Objects, Snapshot
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
    prints, since = _since(options.since, work) if options.since else (work.scan(work.text).of_folder(), None)
    question = plan.Question(
        graph=graph,
        prints=prints,
        ledgers=work.ledgers.read(work.access),
        caches=plan.Caches(
            available=evidence.available(compose.without_blobs(held.cache, shelf.unseen) for held in shelf.caches),
            stages=frozenset(name for name in graph.names if shelf.has(name)),
            composed=shelf.published is not None,
            broken=frozenset(shelf.healed),
            scope=work.scope,
            unread=shelf.unread,
        ),
        forced=work.forced,
        since=since,
    )
    made = replace(plan.make(question), warnings=(*work.warnings, *shelf.warnings))
    if options.json:
        print(plan.to_json(made), end="")
    else:
        outlook.show(made, work.settings.budgets, report.console(), verbose=options.verbose)
    outlook.hold_plan(made, expected)
    return 0


def _since(reference: str, work: Job) -> tuple[Prints, Prints]:
    """The fingerprints of the files that lie here and of a commit's, both with the settings of now."""
    settings = work.settings
    top, commit = history.top(settings.root), history.resolve(settings.root, reference)
    path, folder = (history.place(settings.root, top, name) for name in (settings.dockerfile, settings.context))
    with Objects(top) as objects:
        snapshot = Snapshot(objects=objects, commit=commit, folder=folder, dockerfile=path)
        if snapshot.text is None or not snapshot.tree:
            missing = path if snapshot.text is None else folder
            raise InputError(f"--since: {reference} has no {missing}", "name a commit that has it")
        unheld = history.unheld(settings.root / settings.context)
        prints = (work.scan(work.text).of_folder(), work.scan(snapshot.text).of_commit(_before(snapshot, unheld, work)))
        now, before = (plan.veiled(each, unheld) for each in prints)
    return now, before


def _before(snapshot: Snapshot, unheld: frozenset[str], work: Job) -> Before:
    root = work.settings.root / work.settings.context
    here = Folder(root, memory=context.memory(root, os.environ), rules=snapshot.rules)
    return Before(
        commit=snapshot,
        here=here,
        changed=history.changed(root, snapshot.commit),
        unheld=unheld,
        reattributed=history.reattributed(root, snapshot.commit),
    )
