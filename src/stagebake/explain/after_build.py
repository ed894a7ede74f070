"""Explain a build afterwards, and record it in the ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from stagebake.build.result import BuildResult, StageResult
from stagebake.cache.evidence import Evidence
from stagebake.cache.scopes import Access
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.explain.decision import (
    Reasons,
    StageFacts,
    TooOld,
    decide_stage,
    find_buildkit_change,
    nearest_changes,
    rebuilt_parents,
    unknown_inputs,
)
from stagebake.explain.ledger import Ledger, LedgerEntry, last_built, last_seconds, stage_entries
from stagebake.explain.ledger_store import LedgerStore
from stagebake.explain.stage_times import longest_path_seconds
from stagebake.fingerprint.fingerprinter import Fingerprinter, Fingerprints
from stagebake.fingerprint.model import Fingerprint

# Long enough for a registry that is slow to describe a base image
_FINGERPRINT_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """Build with the reasons of each rebuilt stage, and the ledgers as they were before it."""

    result: BuildResult
    reasons: Mapping[str, Reasons]
    ledgers: Sequence[Ledger]


@dataclass(frozen=True, kw_only=True)
class BuildScopes:
    """Scopes of a build, the name of the one that it reads first, and the stages that `max-age` forced in it."""

    access: Access
    name: str
    too_old: Mapping[str, TooOld] = field(default_factory=dict)


def record_build(
    result: BuildResult,
    graph: StageGraph,
    fingerprinter: Fingerprinter,
    first_prints: Future[Fingerprints],
    ledger_store: LedgerStore,
    scopes: BuildScopes,
) -> BuildRecord:
    """Explain a build and add it to the ledger; `first_prints` are the fingerprints taken when it began.

    The ledger leaves out stages whose files changed during the build: which version was built is not certain. Any error
    becomes a warning, because the image is already available.
    """
    ledgers: Sequence[Ledger] = ()
    try:
        ledgers = ledger_store.read_ledgers(scopes.access)
        first = first_prints.result(_FINGERPRINT_TIMEOUT_SECONDS)
        now = fingerprinter.fingerprint_folder()
        unchanged = {name: found for name, found in now.items() if found.digest == first[name].digest}
        reasons = explain_rebuilds(result, graph, now, ledgers, scopes.name, scopes.too_old)
        entries = ledger_entries(result, graph, unchanged, ledgers, int(time.time()))
        warnings = ledger_store.add_build(scopes.access, entries, overhead_seconds(result, graph))
    except Exception as error:
        problem = str(error) or type(error).__name__
        warnings = (f"cannot explain the rebuilds in detail or update the ledger: {problem}",)
        reasons = explain_rebuilds(result, graph, {}, (), scopes.name, scopes.too_old)
    return BuildRecord(
        result=replace(result, warnings=(*result.warnings, *warnings)),
        reasons=reasons,
        ledgers=ledgers,
    )


def explain_rebuilds(
    result: BuildResult,
    graph: StageGraph,
    prints: Mapping[str, Fingerprint],
    ledgers: Sequence[Ledger],
    scope: str,
    too_old: Mapping[str, TooOld] | None = None,
) -> dict[str, Reasons]:
    """Return the reasons of each rebuilt stage; `scope` is the name of the scope whose caches were read first."""
    stages = {stage.name: stage for stage in result.stages}
    rebuilt = {name for name, stage in stages.items() if stage.status == "rebuilt"}
    reasons: dict[str, Reasons] = {}
    for stage in graph.needed_stages():
        if stage.name not in rebuilt:
            continue
        now = prints.get(stage.name)
        entries = stage_entries(ledgers, stage.name)
        parents = [name for name in stage.parents if name in rebuilt]
        facts = StageFacts(
            forced=result.forced.is_forced(stage.name),
            too_old=(too_old or {}).get(stage.name),
            changes=nearest_changes(entries, now) if now else (),
            rebuilt_parents=rebuilt_parents(parents, reasons),
            unknown=unknown_inputs(now) if now else (),
            blob_missing=stage.name in result.healed,
            has_cache=stage.name not in result.uncached,
            scope=scope,
            step=_find_first_step(stages[stage.name]),
            buildkit_change=find_buildkit_change(entries, now, result.versions.buildkit) if now else None,
        )
        reasons[stage.name] = decide_stage(facts).reasons
    return reasons


def _find_first_step(stage: StageResult) -> str:
    """Return the first step that BuildKit ran."""
    return next((step.name for step in stage.steps if step.ran), "")


def ledger_entries(
    result: BuildResult,
    graph: StageGraph,
    prints: Mapping[str, Fingerprint],
    ledgers: Sequence[Ledger],
    when: int,
) -> dict[str, LedgerEntry]:
    """Return the ledger entries of a build, for the stages with a fingerprint; `when` is in seconds since 1970."""
    evidence = _collect_evidence(result, graph)
    found: dict[str, LedgerEntry] = {}
    for stage in result.stages:
        if stage.status == "unused" or stage.name not in prints:
            continue
        found[stage.name] = LedgerEntry(
            fingerprint=prints[stage.name],
            evidence=evidence.get(stage.name, frozenset()),
            ran=_full_run_seconds(stage, ledgers) if stage.status == "rebuilt" else None,
            restored=stage.seconds if stage.status == "restored" else None,
            bytes=stage.cache.bytes if stage.cache else 0,
            when=when,
            built=when if stage.status == "rebuilt" else _find_built(prints[stage.name], ledgers, when),
            versions=result.versions,
        )
    return found


def _find_built(now: Fingerprint, ledgers: Sequence[Ledger], when: int) -> int:
    """Return when the restored result of a stage was built; where no ledger knows that, the time of this build."""
    return last_built(stage_entries(ledgers, now.stage), now) or when


def overhead_seconds(result: BuildResult, graph: StageGraph) -> float:
    """Return the seconds until the image was available that no stage accounts for."""
    seconds = {stage.name: stage.seconds for stage in result.stages}
    return max(0.0, result.ship_seconds - longest_path_seconds(graph, seconds))


def _collect_evidence(result: BuildResult, graph: StageGraph) -> dict[str, Evidence]:
    """Return what the saved cache of each stage holds; a cache also holds the results of all parent stages."""
    found: dict[str, Evidence] = {}
    for stage in result.stages:
        if stage.cache and stage.cache.evidence:
            found[stage.name] = stage.cache.evidence
    children_first: Sequence[Stage] = tuple(reversed(graph.needed_stages()))
    for child in children_first:
        if child.name in found:
            for parent in child.parents:
                found.setdefault(parent, found[child.name])
    return found


def _full_run_seconds(stage: StageResult, ledgers: Sequence[Ledger]) -> float:
    """Return the seconds of a full run: if only some steps ran, at least the time of the last run."""
    if all(step.ran for step in stage.steps if not step.is_from):
        return stage.seconds
    before = last_seconds(ledgers, stage.name)
    return max(stage.seconds, before or 0.0)
