"""Predict what the next build does with each stage, and why, without an engine and without building. Pure.

A stage is predicted to be restored only if all of this holds: its fingerprint has no unknown part and is that of a
build in the ledger, everything that build's cache held is still in the caches that the next build reads, and the same
is true of every stage that it depends on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stagebake.cache.evidence import Evidence
from stagebake.dockerfile.copy_sources import parent_folders
from stagebake.dockerfile.stages import ForcedStages, Stage, StageGraph
from stagebake.explain.decision import (
    InputChanged,
    ParentRebuilt,
    ParentUnknown,
    Reasons,
    StageFacts,
    TooOld,
    Verdict,
    changed_inputs,
    decide_stage,
    find_buildkit_change,
    nearest_changes,
    rebuilt_parents,
    unknown_inputs,
)
from stagebake.explain.ledger import Ledger, LedgerEntry, last_restore_seconds, last_seconds, stage_entries
from stagebake.explain.reasons import cause_chain, reason_json, reason_words
from stagebake.explain.stage_times import total_build_seconds
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.formatting import json_document
from stagebake.transfer.running_steps import spread_changes
from stagebake.transfer.step_layers import LayeredStages
from stagebake.transfer.step_traffic import StepTraffic, Traffic, foretell_traffic, sum_traffic, unknown_sources


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """Stage with its verdict; `seconds` is the time that the same took last, None if not known.

    `traffic` is what each of its running steps moves, None where the caches do not tell all the layers.
    """

    name: str
    verdict: Verdict
    reasons: Reasons = ()
    seconds: float | None = None
    traffic: tuple[StepTraffic, ...] | None = None

    @property
    def moved(self) -> Traffic | None:
        """Return the bytes that the stage moves, None if not known."""
        return None if self.traffic is None else sum_traffic(self.traffic)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Stages of the image, each after its parents.

    `seconds` is the expected time until the image is available, None if not known.
    """

    stages: tuple[PlannedStage, ...]
    seconds: float | None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> Traffic | None:
        """Return the bytes that the build moves, None if those of a stage are not known."""
        moved = [stage.moved for stage in self.stages]
        known = [traffic for traffic in moved if traffic is not None]
        return sum_traffic(known) if len(known) == len(moved) else None


@dataclass(frozen=True, kw_only=True)
class AvailableCaches:
    """Caches that the next build reads.

    `available` is the evidence of all caches together, `stages` are the stages with a cache. `merged`: the only cache
    is a merged one, which does not name its stages and may hold any. `broken` are the stages of which broken results
    were left out, `scope` is the name of the nearest scope, and `read_failure` says why something could not be read,
    "" if everything could.
    """

    available: Evidence = frozenset()
    stages: frozenset[str] = frozenset()
    merged: bool = False
    broken: frozenset[str] = frozenset()
    scope: str = "main"
    read_failure: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanInput:
    """Everything that a plan is made from; the ledgers of the nearest scope come first.

    `since` are the fingerprints of another commit: if given, the plan assumes the caches of that commit and no others.
    `buildkit` is the version of BuildKit on this machine, "" where unknown.
    """

    graph: StageGraph
    prints: Mapping[str, Fingerprint]
    ledgers: Sequence[Ledger] = ()
    caches: AvailableCaches = field(default_factory=AvailableCaches)
    forced: ForcedStages = field(default_factory=ForcedStages)
    too_old: Mapping[str, TooOld] = field(default_factory=dict)
    since: Mapping[str, Fingerprint] | None = None
    buildkit: str = ""

    def find_changes(self, stage: str) -> tuple[InputChanged, ...]:
        """Return what changed in the stage since its last build, or since the other commit."""
        now = self.prints[stage]
        if self.since is not None:
            return changed_inputs(self.since.get(stage), now)
        return nearest_changes(stage_entries(self.ledgers, stage), now)

    def is_restorable(self, stage: str) -> bool:
        """Tell whether the caches hold the stage as it is now, under any stage name."""
        now = self.prints[stage]
        if self.since is not None:
            return stage in self.since and now.is_same(self.since[stage])
        for ledger in self.ledgers:
            for entries in ledger.stages.values():
                if any(self._is_cached(entry, now) for entry in entries):
                    return True
        return False

    def has_cache(self, stage: str) -> bool:
        """Tell whether there may be a cache of the stage.

        A merged cache may hold any stage, but ledgers that know other stages would know this one if it had been saved.
        """
        if self.caches.merged:
            ledgers_know_stages = any(ledger.stages for ledger in self.ledgers)
            if ledgers_know_stages and not stage_entries(self.ledgers, stage):
                return False
        return stage in self.caches.stages

    def _is_cached(self, entry: LedgerEntry, now: Fingerprint) -> bool:
        saved = bool(entry.evidence) and entry.evidence <= self.caches.available
        return saved and entry.fingerprint.is_same(now)


def make_plan(plan_input: PlanInput) -> Plan:
    """Return the verdict on each stage with its reasons, and the expected time."""
    planned: dict[str, PlannedStage] = {}
    for stage in plan_input.graph.needed_stages():
        decision = decide_stage(_gather_facts(stage, plan_input, planned))
        planned[stage.name] = PlannedStage(
            name=stage.name,
            verdict=decision.verdict,
            reasons=decision.reasons,
            seconds=_predict_seconds(plan_input, stage.name, decision.verdict),
        )
    return Plan(
        stages=tuple(planned.values()),
        seconds=_predict_total(plan_input, planned),
        notes=_note_buildkit_changes(plan_input, planned.values()),
    )


def _note_buildkit_changes(plan_input: PlanInput, planned: Iterable[PlannedStage]) -> tuple[str, ...]:
    """Return a note for each other version of BuildKit that last built stages which the plan restores."""
    stages: dict[str, list[str]] = {}
    for stage in planned:
        entries = stage_entries(plan_input.ledgers, stage.name)
        change = find_buildkit_change(entries, plan_input.prints[stage.name], plan_input.buildkit)
        if change and stage.verdict == "restore":
            stages.setdefault(reason_words(change), []).append(stage.name)
    return tuple(
        f"{words} since {', '.join(names)} last built: where cache keys differ, they run again"
        for words, names in stages.items()
    )


def _gather_facts(stage: Stage, plan_input: PlanInput, planned: Mapping[str, PlannedStage]) -> StageFacts:
    """Gather what decides the verdict on a stage; its parents are already planned."""
    now = plan_input.prints[stage.name]
    parents = [planned[name] for name in stage.parents]
    rebuilt = [parent.name for parent in parents if parent.verdict == "rebuild"]
    unknown_parents = tuple(ParentUnknown(parent.name) for parent in parents if parent.verdict == "unknown")
    restorable = plan_input.is_restorable(stage.name)
    entries = stage_entries(plan_input.ledgers, stage.name)
    same_inputs = [entry for entry in entries if entry.fingerprint.digest == now.digest]
    never_saved = bool(same_inputs) and not any(entry.evidence for entry in same_inputs)
    return StageFacts(
        forced=plan_input.forced.is_forced(stage.name),
        too_old=plan_input.too_old.get(stage.name),
        changes=() if restorable else plan_input.find_changes(stage.name),
        rebuilt_parents=rebuilt_parents(rebuilt, {parent.name: parent.reasons for parent in parents}),
        unknown=unknown_parents or unknown_inputs(now),
        blob_missing=stage.name in plan_input.caches.broken,
        has_cache=plan_input.has_cache(stage.name),
        scope=plan_input.caches.scope,
        restorable=restorable,
        read_failure=plan_input.caches.read_failure,
        recorded=bool(entries) and not never_saved,
        built_before=bool(same_inputs),
        parents=stage.parents,
    )


def add_traffic(
    plan: Plan,
    graph: StageGraph,
    layered: LayeredStages,
    forced: ForcedStages,
    *,
    pushes: bool,
) -> Plan:
    """Return the plan with the bytes that each running step moves, as far as the caches tell.

    `layered` are the layers of the steps in the caches, `pushes` tells whether the image is pushed. The engine is
    assumed to be empty. Nothing is known of a stage that may run or not, nor of the stages that read it.
    """
    layered = dict(layered)
    for stage in plan.stages:
        if stage.verdict == "unknown":
            layered.pop(stage.name, None)
    changed = {stage.name: _changed_lines(stage) for stage in plan.stages if stage.verdict == "rebuild"}
    changed |= dict.fromkeys(forced.with_dependents, None)
    running = spread_changes(graph, changed)
    traffic = foretell_traffic(graph, layered, running)
    if not pushes:
        traffic = tuple(replace(step, pushed=0) for step in traffic)
    found: list[PlannedStage] = []
    for stage in plan.stages:
        own = tuple(step for step in traffic if step.stage == stage.name)
        is_known = stage.verdict != "unknown" and not unknown_sources(graph, layered, running, stage.name)
        found.append(replace(stage, traffic=own if is_known else None))
    return replace(plan, stages=tuple(found))


def _changed_lines(stage: PlannedStage) -> frozenset[int] | None:
    """Return the lines of the instructions that changed in a stage; None if every step may run.

    A rebuilt parent has no line here: the steps that take from it follow from the stages.
    """
    lines: set[int] = set()
    for reason in stage.reasons:
        if isinstance(reason, InputChanged) and reason.change.line:
            lines.add(reason.change.line)
        elif not isinstance(reason, ParentRebuilt):
            return None
    return frozenset(lines)


def mark_uncommitted(prints: Mapping[str, Fingerprint], paths: Collection[str]) -> dict[str, Fingerprint]:
    """Return the fingerprints with an unknown part instead of the files at and below these paths."""
    return {name: Fingerprint(name, tuple(_hide_files(found, paths))) for name, found in prints.items()}


def _hide_files(found: Fingerprint, paths: Collection[str]) -> Iterator[Part]:
    """Yield the parts, with one unknown part for the files of each path and instruction."""
    hidden: set[tuple[str, int]] = set()
    for part in found.parts:
        root = _find_root(part, paths)
        if root is None:
            yield part
        elif (root, part.line) not in hidden:
            hidden.add((root, part.line))
            yield Part("unknown", root, "no commit holds it", part.line)


def _find_root(part: Part, paths: Collection[str]) -> str | None:
    """Return the path that a file is at or below."""
    if part.kind != "file":
        return None
    candidates = (part.name, *parent_folders(part.name))
    return next((path for path in candidates if path in paths), None)


def plan_json(plan: Plan) -> str:
    """Return the plan as a JSON document for machines, with times in seconds and sizes in bytes."""
    stages = [
        {
            "name": stage.name,
            "expected": stage.verdict,
            "reasons": [{**reason_json(reason), "chain": list(cause_chain(reason))} for reason in stage.reasons],
            "seconds": _round_seconds(stage.seconds),
            "bytes": _traffic_to_json(stage.moved),
            "steps": [_step_to_json(step) for step in stage.traffic or ()],
        }
        for stage in plan.stages
    ]
    document: dict[str, Any] = {
        "stages": stages,
        "seconds": _round_seconds(plan.seconds),
        "bytes": _traffic_to_json(plan.moved),
        "warnings": list(plan.warnings),
        "notes": list(plan.notes),
    }
    return json_document(document)


def _step_to_json(step: StepTraffic) -> dict[str, Any]:
    instruction = step.step.instruction
    return {"step": instruction.text, "line": instruction.line, "bytes": _traffic_to_json(step)}


def _traffic_to_json(traffic: Traffic | None) -> dict[str, int] | None:
    return None if traffic is None else {"pulled": traffic.pulled, "pushed": traffic.pushed}


def _predict_seconds(plan_input: PlanInput, stage: str, verdict: Verdict) -> float | None:
    """Return the seconds that restoring or running the stage took last, None if not known."""
    if verdict == "restore":
        return last_restore_seconds(plan_input.ledgers, stage)
    return last_seconds(plan_input.ledgers, stage)


def _predict_total(plan_input: PlanInput, planned: Mapping[str, PlannedStage]) -> float | None:
    """Return the expected seconds of the build, None if the time of a stage that may run is not known."""
    seconds: dict[str, float] = {}
    for stage in planned.values():
        if stage.seconds is None and stage.verdict != "restore":
            return None
        seconds[stage.name] = stage.seconds or 0.0
    known_overheads = (ledger.overhead for ledger in plan_input.ledgers if ledger.overhead is not None)
    return total_build_seconds(plan_input.graph, seconds, next(known_overheads, 0.0))


def _round_seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
