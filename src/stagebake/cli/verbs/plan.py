"""Predict what the next build restores and rebuilds, and why, without building."""

from __future__ import annotations

import argparse
from dataclasses import replace

from stagebake.buildkit.versions import read_versions_later
from stagebake.cache.cache_refs import read_caches, read_stage_caches
from stagebake.cache.evidence import available_evidence
from stagebake.cache.merge import drop_blobs
from stagebake.cache.stage_caches import StageCaches
from stagebake.cli.command import Command, read_command
from stagebake.cli.expectations import check_plan, parse_expectations
from stagebake.cli.flags import VerbParsers, add_build_choices, add_settings
from stagebake.context.work_tree import open_contexts
from stagebake.errors import InputError
from stagebake.explain.plan import (
    AvailableCaches,
    Plan,
    PlanInput,
    add_traffic,
    make_plan,
    mark_uncommitted,
    plan_json,
)
from stagebake.fingerprint.fingerprinter import Fingerprints
from stagebake.report.tables import make_console, show_plan
from stagebake.transfer.step_layers import LayeredStages, nearest_stage_caches, read_step_layers


def add_plan_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("plan", help="print what the next build restores and rebuilds, and why, without building")
    verb.set_defaults(run=run_plan)
    add_settings(verb)
    add_build_choices(verb)
    verb.add_argument("--push", action="store_true", help="plan a build that is pushed")
    verb.add_argument("--since", metavar="GITREF", help="print what the changes since this commit rebuild")
    verb.add_argument("--json", action="store_true", help="print JSON for machines")


def run_plan(options: argparse.Namespace) -> int:
    """Print the plan as a table or JSON; return 0. Raise Unexpected if it differs from --expect."""
    command = read_command(options)
    if options.since == "":
        raise InputError("--since: no commit is given", "name a commit, such as --since origin/main")
    expected = parse_expectations(options.expect, command.graph)
    plan = _plan_since(command, options.since) if options.since else _plan_next_build(command)
    if options.json:
        print(plan_json(plan), end="")
    else:
        show_plan(plan, command.settings.budgets, make_console(), verbose=options.verbose)
    check_plan(plan, expected)
    return 0


def _plan_next_build(command: Command) -> Plan:
    """Plan the build of the work tree with the caches that exist."""
    versions = read_versions_later()
    caches = StageCaches()
    if command.build_stores.caches:
        caches = read_caches(command.build_stores.caches, command.graph, command.access)
    fingerprinter = command.create_fingerprinter(command.dockerfile_text)
    return _make_plan(command, fingerprinter.fingerprint_folder(), caches, buildkit=versions.result().buildkit)


def _plan_since(command: Command, reference: str) -> Plan:
    """Plan the build of the work tree, if the caches of a commit existed. Both sides have the settings of now."""
    with open_contexts(command.settings, reference) as contexts:
        now = command.create_fingerprinter(command.dockerfile_text)
        before = command.create_fingerprinter(contexts.before.text or "")
        if contexts.converts_differently:
            now_prints = now.fingerprint_folder()
        else:
            now_prints = now.fingerprint_context(contexts.now)
        before_prints = before.fingerprint_context(contexts.before)
    return _make_plan(
        command,
        mark_uncommitted(now_prints, contexts.uncommitted),
        StageCaches(),
        since=mark_uncommitted(before_prints, contexts.uncommitted),
    )


def _make_plan(
    command: Command,
    prints: Fingerprints,
    caches: StageCaches,
    since: Fingerprints | None = None,
    buildkit: str = "",
) -> Plan:
    plan = make_plan(
        PlanInput(
            graph=command.graph,
            prints=prints,
            ledgers=command.ledger_store.read_ledgers(command.access),
            caches=_describe_caches(command, caches),
            forced=command.forced_stages if since else command.stages_to_force,
            too_old={} if since else command.too_old,
            since=since,
            buildkit=buildkit,
        )
    )
    runs = any(stage.verdict != "restore" for stage in plan.stages)
    layered = _read_layers(command, caches) if runs else {}
    plan = add_traffic(
        plan,
        command.graph,
        layered,
        command.forced_stages if since else command.stages_to_force,
        pushes=command.options.push,
    )
    return replace(plan, warnings=(*command.input_warnings, *caches.warnings))


def _read_layers(command: Command, caches: StageCaches) -> LayeredStages:
    """Return the layers of the steps in the stage caches; a build that is not pushed reads a merged cache only."""
    if caches.merged_source is not None and command.build_stores.caches is not None:
        caches = read_stage_caches(command.build_stores.caches, command.graph, command.access)
    return read_step_layers(command.graph, nearest_stage_caches(caches))


def _describe_caches(command: Command, caches: StageCaches) -> AvailableCaches:
    intact = [drop_blobs(stage_cache.cache, caches.unchecked_blobs) for stage_cache in caches.caches]
    cached_stages = [name for name in command.graph.names if caches.has_stage(name)]
    return AvailableCaches(
        available=available_evidence(intact),
        stages=frozenset(cached_stages),
        merged=caches.merged_source is not None,
        broken=frozenset(caches.healed_stages),
        scope=command.scope_name,
        read_failure=caches.read_failure,
    )
