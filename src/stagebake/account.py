"""After a build: the reasons in words that name them, and what the ledger is to remember. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stagebake import plan, reasons
from stagebake.dockerfile import StageGraph
from stagebake.evidence import Evidence
from stagebake.fingerprint import Fingerprint
from stagebake.ledger import Ledger, Result
from stagebake.outcome import BuildResult, Reason, StageResult


def explained(
    result: BuildResult,
    graph: StageGraph,
    prints: Mapping[str, Fingerprint],
    ledgers: Sequence[Ledger],
    scope: str,
) -> BuildResult:
    """The result with what changed since the last build of each stage, where the ledgers tell of one.

    `scope` is what the scope is called whose caches were read first.
    """
    why: dict[str, tuple[Reason, ...]] = {}
    stages = {stage.name: stage for stage in result.stages}
    for stage in graph.needed():
        now = prints.get(stage.name)
        results = [known for ledger in ledgers for known in ledger.of(stage.name)]
        changed = plan.changed(results, now) if now else ()
        missing = "cache left out: blob missing" if stage.name in result.healed else f"no cache in scope {scope}"
        why[stage.name] = _why(stages[stage.name], changed, now, why, missing)
    return replace(result, stages=tuple(replace(s, reasons=why.get(s.name, s.reasons)) for s in result.stages))


def _why(
    stage: StageResult,
    changed: tuple[Reason, ...],
    now: Fingerprint | None,
    why: Mapping[str, Sequence[Reason]],
    missing: str,
) -> tuple[Reason, ...]:
    """What changed, and which parents ran; where that is nothing, what is unknown or `missing`, else the first step."""
    first = stage.reasons[0] if stage.reasons else None
    if first is None or first.kind == "forced":
        return stage.reasons
    parents = reasons.of_parents([reason.what for reason in stage.reasons if reason.kind == "parent"], why)
    if changed or parents:
        return (*changed, *parents)
    if first.kind == "cache" or missing.startswith("cache left out"):
        return (Reason("cache", missing),)
    return (reasons.unknown(now) if now else ()) or stage.reasons


def results(
    result: BuildResult,
    graph: StageGraph,
    prints: Mapping[str, Fingerprint],
    ledgers: Sequence[Ledger],
    when: int,
) -> dict[str, Result]:
    """What the ledger is to remember of a build, for the stages of which a fingerprint is given."""
    held = _held(result, graph)
    found: dict[str, Result] = {}
    for stage in result.stages:
        if stage.status == "unused" or stage.name not in prints:
            continue
        known = [entry for ledger in ledgers for entry in ledger.of(stage.name)]
        found[stage.name] = Result(
            fingerprint=prints[stage.name],
            evidence=held.get(stage.name, frozenset()),
            ran=_ran(stage, known) if stage.status == "rebuilt" else None,
            restored=stage.seconds if stage.status == "restored" else None,
            bytes=stage.cache.bytes if stage.cache else 0,
            when=when,
        )
    return found


def rest(result: BuildResult, graph: StageGraph) -> float:
    """The seconds until the image was out that went into no stage."""
    seconds = {stage.name: stage.seconds for stage in result.stages}
    return max(0.0, result.ship_seconds - plan.longest(graph, seconds))


def _held(result: BuildResult, graph: StageGraph) -> dict[str, Evidence]:
    """Of each stage the cache that was saved, or one of those saved with it: a cache holds all that it stands on."""
    saved = {stage.name: stage.cache.evidence for stage in result.stages if stage.cache and stage.cache.evidence}
    held = dict(saved)
    for stage in reversed(graph.needed()):
        for parent in stage.parents:
            if stage.name in held:
                held.setdefault(parent, held[stage.name])
    return held


def _ran(stage: StageResult, known: Sequence[Result]) -> float:
    """The seconds that a whole run takes: where only some of the steps ran, not less than the time before."""
    whole = all(step.ran for step in stage.steps if not step.is_from)
    before = next((entry.ran for entry in known if entry.ran is not None), 0.0)
    return stage.seconds if whole else max(stage.seconds, before)
