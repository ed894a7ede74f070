"""After a build: the reasons in words that name them, and what the ledger is to remember. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from stagebake.build.result import BuildResult, RebuildReason, StageResult
from stagebake.cache.evidence import Evidence
from stagebake.cache.scopes import Access
from stagebake.dockerfile.stages import StageGraph
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.ledger_store import LedgerStore
from stagebake.explain.plan import longest_path_seconds, nearest_changes
from stagebake.explain.reasons import parent_reasons, unknown_reasons
from stagebake.fingerprint.fingerprinter import Fingerprinter, Fingerprints
from stagebake.fingerprint.model import Fingerprint


def explain_result(
    result: BuildResult,
    graph: StageGraph,
    prints: Mapping[str, Fingerprint],
    ledgers: Sequence[Ledger],
    scope: str,
) -> BuildResult:
    """The result with what changed since the last build of each stage, where the ledgers tell of one.

    `scope` is what the scope is called whose caches were read first.
    """
    why: dict[str, tuple[RebuildReason, ...]] = {}
    stages = {stage.name: stage for stage in result.stages}
    for stage in graph.needed_stages():
        now = prints.get(stage.name)
        results = [known for ledger in ledgers for known in ledger.of(stage.name)]
        changed = nearest_changes(results, now) if now else ()
        missing = "cache left out: blob missing" if stage.name in result.healed else f"no cache in scope {scope}"
        why[stage.name] = _why(stages[stage.name], changed, now, why, missing)
    return replace(result, stages=tuple(replace(s, reasons=why.get(s.name, s.reasons)) for s in result.stages))


def _why(
    stage: StageResult,
    changed: tuple[RebuildReason, ...],
    now: Fingerprint | None,
    why: Mapping[str, Sequence[RebuildReason]],
    missing: str,
) -> tuple[RebuildReason, ...]:
    """What changed, and which parents ran; where that is nothing, what is unknown or `missing`, else the first step."""
    first = stage.reasons[0] if stage.reasons else None
    if first is None or first.kind == "forced":
        return stage.reasons
    parents = parent_reasons([reason.what for reason in stage.reasons if reason.kind == "parent"], why)
    if changed or parents:
        return (*changed, *parents)
    if first.kind == "cache" or missing.startswith("cache left out"):
        return (RebuildReason("cache", missing),)
    return (unknown_reasons(now) if now else ()) or stage.reasons


def ledger_entries(
    result: BuildResult,
    graph: StageGraph,
    prints: Mapping[str, Fingerprint],
    ledgers: Sequence[Ledger],
    when: int,
) -> dict[str, LedgerEntry]:
    """What the ledger is to remember of a build, for the stages of which a fingerprint is given."""
    stage_cache = _held(result, graph)
    found: dict[str, LedgerEntry] = {}
    for stage in result.stages:
        if stage.status == "unused" or stage.name not in prints:
            continue
        known = [entry for ledger in ledgers for entry in ledger.of(stage.name)]
        found[stage.name] = LedgerEntry(
            fingerprint=prints[stage.name],
            evidence=stage_cache.get(stage.name, frozenset()),
            ran=_ran(stage, known) if stage.status == "rebuilt" else None,
            restored=stage.seconds if stage.status == "restored" else None,
            bytes=stage.cache.bytes if stage.cache else 0,
            when=when,
        )
    return found


def overhead_seconds(result: BuildResult, graph: StageGraph) -> float:
    """The seconds until the image was out that went into no stage."""
    seconds = {stage.name: stage.seconds for stage in result.stages}
    return max(0.0, result.ship_seconds - longest_path_seconds(graph, seconds))


def _held(result: BuildResult, graph: StageGraph) -> dict[str, Evidence]:
    """Of each stage the cache that was saved, or one of those saved with it: a cache holds all that it stands on."""
    saved = {stage.name: stage.cache.evidence for stage in result.stages if stage.cache and stage.cache.evidence}
    stage_cache = dict(saved)
    for stage in reversed(graph.needed_stages()):
        for parent in stage.parents:
            if stage.name in stage_cache:
                stage_cache.setdefault(parent, stage_cache[stage.name])
    return stage_cache


def _ran(stage: StageResult, known: Sequence[LedgerEntry]) -> float:
    """The seconds that a whole run takes: where only some of the steps ran, not less than the time before."""
    whole = all(step.ran for step in stage.steps if not step.is_from)
    before = next((entry.ran for entry in known if entry.ran is not None), 0.0)
    return stage.seconds if whole else max(stage.seconds, before)


# Long enough for a registry that is slow to tell of a base image
_PATIENCE = 30.0


def record_build(
    result: BuildResult,
    graph: StageGraph,
    scan: Fingerprinter,
    before: Future[Fingerprints],
    ledgers: LedgerStore,
    access: Access,
    scope: str,
) -> tuple[BuildResult, Sequence[Ledger]]:
    """The result with its reasons in words, and what was known before; `before` are the first fingerprints.

    The ledger hears only of stages that are still as they were then: what was built is certain for these alone.
    """
    known: Sequence[Ledger] = ()
    try:
        known = ledgers.read(access)
        first, now = before.result(_PATIENCE), scan.of_folder()
        certain = {name: found for name, found in now.items() if found.digest == first[name].digest}
        explained = explain_result(result, graph, now, known, scope)
        built = ledger_entries(result, graph, certain, known, int(time.time()))
        failed = ledgers.write(access, built, overhead_seconds(result, graph))
        return replace(explained, warnings=(*result.warnings, *failed)), known
    except Exception as error:  # the image is out: whatever is wrong here must not say otherwise
        said = f"why stages were rebuilt is not known in detail, nor written down: {error or type(error).__name__}"
        return replace(result, warnings=(*result.warnings, said)), known
