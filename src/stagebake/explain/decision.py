"""Decide what a build does with a stage, and why: one ordered table for `plan` and for `build`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stagebake.explain.changes import Change, fingerprint_changes
from stagebake.explain.ledger import LedgerEntry, last_versions
from stagebake.fingerprint.model import Fingerprint, Part

Verdict = Literal["restore", "rebuild", "unknown"]

# Changes of a parent stage are the parent's own reasons; an unknown part is not a change
_NOT_OWN_CHANGES = ("stage", "unknown")


@dataclass(frozen=True)
class RebuildReason:
    """Base of the reasons why a stage is rebuilt, or why that is unknown; `kind` is their group in JSON documents."""

    kind = "unknown"


@dataclass(frozen=True)
class Forced(RebuildReason):
    """--no-cache forces the stage."""

    kind = "forced"


@dataclass(frozen=True)
class TooOld(RebuildReason):
    """Result of the stage is older than `max-age` (seconds); `built` is its time in seconds since 1970."""

    max_age: float
    built: int
    kind = "age"


@dataclass(frozen=True)
class InputChanged(RebuildReason):
    """Part of the stage's own inputs changed since the last build; JSON documents show the kind of that part."""

    change: Change


@dataclass(frozen=True)
class ParentRebuilt(RebuildReason):
    """Parent stage is rebuilt; `cause` is the first reason of that stage, if known."""

    parent: str
    cause: RebuildReason | None = None
    kind = "parent"


@dataclass(frozen=True)
class StepRan(RebuildReason):
    """BuildKit ran this step, and no known change explains it."""

    step: str
    kind = "step"


@dataclass(frozen=True)
class BuildKitChanged(RebuildReason):
    """Inputs are unchanged and another version of BuildKit built the stage last; keys may differ between versions."""

    old: str
    new: str
    kind = "buildkit"


@dataclass(frozen=True)
class CacheProblem(RebuildReason):
    """Base of the reasons why the stage has no matching cache although its inputs are unchanged."""

    kind = "cache"


@dataclass(frozen=True)
class CacheMissing(CacheProblem):
    """Scope holds no cache of the stage."""

    scope: str


@dataclass(frozen=True)
class BlobMissing(CacheProblem):
    """Cache of the stage refers to a blob that the registry has lost."""


@dataclass(frozen=True)
class CacheGone(CacheProblem):
    """Cache for these inputs was saved once, but the registry no longer has it."""


@dataclass(frozen=True)
class ParentsDiffer(CacheProblem):
    """Stage was never built with this combination of parent stages."""

    parents: tuple[str, ...]
    kind = "stage"


@dataclass(frozen=True)
class Unknown(RebuildReason):
    """Base of the reasons why it is unknown whether the stage is rebuilt."""


@dataclass(frozen=True)
class InputUnknown(Unknown):
    """Part of the stage's inputs cannot be known before the build."""

    part: Part


@dataclass(frozen=True)
class ParentUnknown(Unknown):
    """Verdict of a parent stage is unknown."""

    parent: str


@dataclass(frozen=True)
class CachesUnreadable(Unknown):
    """Caches could not be read: `failure` is the error message."""

    failure: str


@dataclass(frozen=True)
class NotInLedger(Unknown):
    """Ledger does not record what the stage's cache was built from."""


Reasons = tuple[RebuildReason, ...]


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """Facts about one stage that decide its verdict.

    `too_old` is set where `max-age` forces the stage. `unknown` are the inputs and parents that cannot be known
    before the build. `restorable`: the caches hold the stage as it is now. `read_failure` says why caches could not
    be read, "" if all could. `recorded`: the ledger knows what the stage's cache was built from; `built_before`:
    that is the same as now. `step` is the first step that BuildKit ran, "" before the build; `buildkit_change` is
    set where another version of BuildKit built the same before.
    """

    forced: bool
    changes: tuple[InputChanged, ...]
    rebuilt_parents: tuple[ParentRebuilt, ...]
    unknown: Reasons
    blob_missing: bool
    has_cache: bool
    scope: str
    too_old: TooOld | None = None
    restorable: bool = False
    read_failure: str = ""
    recorded: bool = False
    built_before: bool = False
    parents: tuple[str, ...] = ()
    step: str = ""
    buildkit_change: BuildKitChanged | None = None


@dataclass(frozen=True)
class Decision:
    """Verdict on a stage, with its reasons."""

    verdict: Verdict
    reasons: Reasons = ()


def decide_stage(facts: StageFacts) -> Decision:
    """Return the verdict on a stage with its reasons: the first row of the table whose condition holds."""
    changes = (*facts.changes, *facts.rebuilt_parents)
    before_build = not facts.step
    table: tuple[tuple[object, Decision], ...] = (
        (facts.too_old, Decision("rebuild", (facts.too_old,) if facts.too_old else ())),
        (facts.forced, Decision("rebuild", (Forced(),))),
        (changes, Decision("rebuild", changes)),
        # After the build a missing cache explains more than an unknown input
        (facts.unknown and before_build, Decision("unknown", facts.unknown)),
        (facts.restorable, Decision("restore")),
        (facts.read_failure, Decision("unknown", (CachesUnreadable(facts.read_failure),))),
        (facts.blob_missing, Decision("rebuild", (BlobMissing(),))),
        (not facts.has_cache, Decision("rebuild", (CacheMissing(facts.scope),))),
        (facts.unknown, Decision("rebuild", facts.unknown)),
        (facts.step and facts.buildkit_change, Decision("rebuild", _only_known(facts.buildkit_change))),
        (facts.step, Decision("rebuild", (StepRan(facts.step),))),
        (not facts.recorded, Decision("unknown", (NotInLedger(),))),
        (not facts.built_before, Decision("rebuild", (ParentsDiffer(facts.parents),))),
        (True, Decision("rebuild", (CacheGone(),))),
    )
    return next(decision for condition, decision in table if condition)


def _only_known(reason: RebuildReason | None) -> Reasons:
    return (reason,) if reason else ()


def find_buildkit_change(entries: Iterable[LedgerEntry], now: Fingerprint, version: str) -> BuildKitChanged | None:
    """Return the change of BuildKit's version since these inputs were last built; None where one is unknown."""
    old = last_versions(entries, now).buildkit
    return BuildKitChanged(old, version) if old and version and old != version else None


def changed_inputs(old: Fingerprint | None, new: Fingerprint) -> tuple[InputChanged, ...]:
    """Return the changes of the stage's own inputs; () without an old fingerprint."""
    if old is None:
        return ()
    changes = fingerprint_changes(old, new)
    return tuple(InputChanged(change) for change in changes if change.kind not in _NOT_OWN_CHANGES)


def nearest_changes(entries: Sequence[LedgerEntry], now: Fingerprint) -> tuple[InputChanged, ...]:
    """Return the changes since the most similar earlier build, of those whose cache was saved if there are any."""
    saved = [entry for entry in entries if entry.evidence]
    candidates = [changed_inputs(entry.fingerprint, now) for entry in saved or entries]
    return min(candidates, key=len, default=())


def rebuilt_parents(parents: Iterable[str], reasons: Mapping[str, Reasons]) -> tuple[ParentRebuilt, ...]:
    """Return a reason for each of these rebuilt stages, linked to the first reason of that stage."""
    found: list[ParentRebuilt] = []
    for parent in parents:
        first_reason = next(iter(reasons.get(parent, ())), None)
        found.append(ParentRebuilt(parent, first_reason))
    return tuple(found)


def unknown_inputs(fingerprint: Fingerprint) -> tuple[InputUnknown, ...]:
    """Return the inputs that cannot be known before the stage is built."""
    return tuple(InputUnknown(part) for part in fingerprint.unknown)
