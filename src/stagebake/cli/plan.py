"""What the next build would restore and rebuild, and why, without building."""

from __future__ import annotations

import argparse
from dataclasses import replace

from stagebake.cache.cache_refs import read_caches
from stagebake.cache.evidence import available_evidence
from stagebake.cache.merge import drop_blobs
from stagebake.cache.stage_caches import StageCaches
from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_build_choices, add_settings
from stagebake.errors import InputError
from stagebake.explain.expectations import check_plan, parse_expectations
from stagebake.explain.plan import AvailableCaches, PlanInput, make_plan, mark_uncommitted, plan_json
from stagebake.fingerprint.fingerprinter import Fingerprints
from stagebake.fingerprint.work_tree import open_contexts
from stagebake.report.tables import make_console, show_plan


def add_plan_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("plan", help="what the next build would restore and rebuild, and why, without building")
    verb.set_defaults(run=run_plan)
    add_settings(verb)
    add_build_choices(verb)
    verb.add_argument("--push", action="store_true", help="plan a build that is pushed")
    verb.add_argument("--since", metavar="GITREF", help="what the changes since this commit would rebuild")
    verb.add_argument("--json", action="store_true", help="for machines")


def run_plan(options: argparse.Namespace) -> int:
    """Plans, and shows the plan."""
    command = read_command(options)
    graph = command.graph
    if options.since == "":
        raise InputError("--since: no commit is named", "name one: --since origin/main")
    expected = parse_expectations(options.expect, graph)
    caches = command.build_stores.caches
    stage_caches = read_caches(caches, graph, command.access) if caches and not options.since else StageCaches()
    prints, since = (
        _fingerprint_since(options.since, command)
        if options.since
        else (command.create_fingerprinter(command.dockerfile_text).fingerprint_folder(), None)
    )
    question = PlanInput(
        graph=graph,
        prints=prints,
        ledgers=command.ledger_store.read_ledgers(command.access),
        caches=AvailableCaches(
            available=available_evidence(
                drop_blobs(stage_cache.cache, stage_caches.unchecked_blobs) for stage_cache in stage_caches.caches
            ),
            stages=frozenset(name for name in graph.names if stage_caches.has_stage(name)),
            merged=stage_caches.merged_source is not None,
            broken=frozenset(stage_caches.healed_stages),
            scope=command.scope_name,
            read_failure=stage_caches.read_failure,
        ),
        forced=command.forced_stages,
        since=since,
    )
    made = replace(make_plan(question), warnings=(*command.input_warnings, *stage_caches.warnings))
    if options.json:
        print(plan_json(made), end="")
    else:
        show_plan(made, command.settings.budgets, make_console(), verbose=options.verbose)
    check_plan(made, expected)
    return 0


def _fingerprint_since(reference: str, command: Command) -> tuple[Fingerprints, Fingerprints]:
    """Return the fingerprints of the work tree and of a commit, both with the settings of now."""
    with open_contexts(command.settings, reference) as contexts:
        now = command.create_fingerprinter(command.dockerfile_text)
        before = command.create_fingerprinter(contexts.before.text or "")
        if contexts.converts_differently:
            now_prints = now.fingerprint_folder()
        else:
            now_prints = now.fingerprint_context(contexts.now)
        before_prints = before.fingerprint_context(contexts.before)
    return (
        mark_uncommitted(now_prints, contexts.uncommitted),
        mark_uncommitted(before_prints, contexts.uncommitted),
    )
