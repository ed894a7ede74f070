"""What the next build will do with each stage, and why, without an engine and without building. Pure.

A stage is expected to be restored only where nothing can come in between: its fingerprint, in which nothing is unknown,
is that of a build in the ledger, all that this build's cache held is still in what the next build reads, and the same
is true of all that it stands on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stagebake.build.result import RebuildReason
from stagebake.cache.evidence import Evidence
from stagebake.dockerfile.copy_sources import parent_folders
from stagebake.dockerfile.stages import ForcedStages, Stage, StageGraph
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.reasons import own_reasons, parent_reasons, unknown_reasons
from stagebake.fingerprint.model import Fingerprint, Part

Verdict = Literal["restore", "rebuild", "unknown"]


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """What will become of a stage; `seconds` is what that took the last time, None where it is not known."""

    name: str
    verdict: Verdict
    reasons: tuple[RebuildReason, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All stages that the image is made of, each after those it takes from.

    `seconds` is the expected time until the image is out, None where it is not known.
    """

    stages: tuple[PlannedStage, ...]
    seconds: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AvailableCaches:
    """What the next build finds: of all caches together, and which stages have one at all.

    `composed` tells that it is one cache of all, which does not name its stages and may have any. `broken` are the
    stages of which something was left out, `scope` is what the nearest scope is called, and `unread` says why something
    could not be looked at, "" where all was.
    """

    available: Evidence = frozenset()
    stages: frozenset[str] = frozenset()
    merged: bool = False
    broken: frozenset[str] = frozenset()
    scope: str = "main"
    read_failure: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanInput:
    """What a plan is made from: the ledgers nearest scope first.

    `since` are the fingerprints of another commit: then its caches are taken for granted, and no others.
    """

    graph: StageGraph
    prints: Mapping[str, Fingerprint]
    ledgers: Sequence[Ledger] = ()
    caches: AvailableCaches = field(default_factory=AvailableCaches)
    forced: ForcedStages = field(default_factory=ForcedStages)
    since: Mapping[str, Fingerprint] | None = None

    def changed(self, stage: str) -> tuple[RebuildReason, ...]:
        """What of the stage is not what it was."""
        now = self.prints[stage]
        if self.since is not None:
            return own_reasons(self.since.get(stage), now)
        return nearest_changes(self.results(stage), now)

    def results(self, stage: str) -> tuple[LedgerEntry, ...]:
        return tuple(result for ledger in self.ledgers for result in ledger.of(stage))

    def restorable(self, stage: str) -> bool:
        """Whether the caches have the stage as it is now; it may have had another name."""
        now = self.prints[stage]
        if self.since is not None:
            return stage in self.since and now.same(self.since[stage])
        return any(
            result.fingerprint.same(now) and result.evidence and result.evidence <= self.caches.available
            for ledger in self.ledgers
            for results in ledger.stages.values()
            for result in results
        )


def make_plan(question: PlanInput) -> Plan:
    """What is expected of each stage, and in how many seconds."""
    expected: dict[str, PlannedStage] = {}
    for stage in question.graph.needed_stages():
        verdict, why = _expect(stage, question, expected)
        seconds = _seconds(question, stage.name, verdict)
        expected[stage.name] = PlannedStage(name=stage.name, verdict=verdict, reasons=why, seconds=seconds)
    return Plan(stages=tuple(expected.values()), seconds=_total(question, expected))


def mark_uncommitted(prints: Mapping[str, Fingerprint], paths: Collection[str]) -> dict[str, Fingerprint]:
    """The fingerprints with something unknown in the place of the files at and below these paths."""
    return {name: Fingerprint(name, tuple(_veiled(found, paths))) for name, found in prints.items()}


def _veiled(found: Fingerprint, paths: Collection[str]) -> Iterator[Part]:
    told: set[tuple[str, int]] = set()
    for part in found.parts:
        files = (part.name, *parent_folders(part.name)) if part.kind == "file" else ()
        root = next((path for path in files if path in paths), None)
        if root is None:
            yield part
        elif (root, part.line) not in told:
            told.add((root, part.line))
            yield Part("unknown", root, "no commit holds it", part.line)


def plan_json(plan: Plan) -> str:
    """The plan for machines. Times in seconds; the names are stable."""
    stages = [
        {
            "name": stage.name,
            "expected": stage.verdict,
            "reasons": [{"kind": r.kind, "what": r.what, "chain": list(r.chain)} for r in stage.reasons],
            "seconds": _rounded(stage.seconds),
        }
        for stage in plan.stages
    ]
    document: dict[str, Any] = {"stages": stages, "seconds": _rounded(plan.seconds)}
    document["warnings"] = list(plan.warnings)
    return json.dumps(document, indent=2) + "\n"


def _expect(
    stage: Stage, question: PlanInput, expected: Mapping[str, PlannedStage]
) -> tuple[Verdict, tuple[RebuildReason, ...]]:
    if question.forced.is_forced(stage.name):
        return "rebuild", (RebuildReason("forced", "--no-cache"),)
    why = {name: expected[name].reasons for name in stage.parents}
    rebuilt = parent_reasons([name for name in stage.parents if expected[name].verdict == "rebuild"], why)
    unclear = [name for name in stage.parents if expected[name].verdict == "unknown"]
    known = question.restorable(stage.name)
    own = () if known else question.changed(stage.name)
    if own or rebuilt:
        return "rebuild", (*own, *rebuilt)
    if unclear or question.prints[stage.name].unknown:
        what = () if unclear else unknown_reasons(question.prints[stage.name])
        return "unknown", (*what, *(RebuildReason("unknown", f"parent `{name}`", (name,)) for name in unclear))
    return ("restore", ()) if known else _missing(stage, question)


def _missing(stage: Stage, question: PlanInput) -> tuple[Verdict, tuple[RebuildReason, ...]]:
    """Why there is no cache of a stage in which nothing changed."""
    caches, results = question.caches, question.results(stage.name)
    if caches.read_failure:
        return "unknown", (RebuildReason("unknown", f"what the caches have: {caches.read_failure}"),)
    if stage.name in caches.broken:
        return "rebuild", (RebuildReason("cache", "cache left out: blob missing"),)
    new = caches.merged and not results and any(ledger.stages for ledger in question.ledgers)
    if new or stage.name not in caches.stages:
        return "rebuild", (RebuildReason("cache", f"no cache in scope {caches.scope}"),)
    same = [result for result in results if result.fingerprint.digest == question.prints[stage.name].digest]
    if not results or (same and not any(result.evidence for result in same)):
        return "unknown", (RebuildReason("unknown", "what its cache was made from is in no ledger"),)
    if not same:
        return "rebuild", (
            RebuildReason("stage", f"other results of {_listed(stage.parents)} than when it was last built"),
        )
    return "rebuild", (RebuildReason("cache", "the cache of this state is no longer there"),)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "its images"


def _seconds(question: PlanInput, stage: str, verdict: Verdict) -> float | None:
    """What this took the last time."""
    times = (r.restored if verdict == "restore" else r.ran for r in question.results(stage))
    return next((seconds for seconds in times if seconds is not None), None)


def _total(question: PlanInput, expected: Mapping[str, PlannedStage]) -> float | None:
    """The longest way through the stages, as BuildKit runs them, and what a build takes beside them."""
    if any(stage.seconds is None and stage.verdict != "restore" for stage in expected.values()):
        return None
    rest = next((ledger.rest for ledger in question.ledgers if ledger.rest is not None), 0.0)
    return longest_path_seconds(question.graph, {name: stage.seconds or 0.0 for name, stage in expected.items()}) + rest


def nearest_changes(results: Sequence[LedgerEntry], now: Fingerprint) -> tuple[RebuildReason, ...]:
    """What is different from the nearest result: of those whose cache was saved, where there are any."""
    saved = [result for result in results if result.evidence] or results
    return min((own_reasons(result.fingerprint, now) for result in saved), key=len, default=())


def longest_path_seconds(graph: StageGraph, seconds: Mapping[str, float]) -> float:
    """The seconds of the longest way through the stages."""
    done: dict[str, float] = {}
    for stage in graph.needed_stages():
        done[stage.name] = max((done[parent] for parent in stage.parents), default=0.0) + seconds[stage.name]
    return max(done.values())


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
