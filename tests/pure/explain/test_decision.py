"""Decide what a build does with a stage, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stagebake.explain.changes import Change
from stagebake.explain.decision import (
    BlobMissing,
    CacheGone,
    CacheMissing,
    CachesUnreadable,
    Decision,
    Forced,
    InputChanged,
    InputUnknown,
    NotInLedger,
    ParentRebuilt,
    ParentsDiffer,
    Reasons,
    StageFacts,
    StepRan,
    changed_inputs,
    decide_stage,
    nearest_changes,
    rebuilt_parents,
    unknown_inputs,
)
from stagebake.explain.ledger import LedgerEntry
from stagebake.fingerprint.model import Fingerprint, Part

PART = Part("file", "a.txt", "1")
CHANGED = InputChanged(Change(effect="added", part=PART, new=PART))
REMOTE = InputUnknown(Part("unknown", "ADD x", "remote"))
PARENT = ParentRebuilt("base")

# Everything is wrong with this stage; each case of the table repairs what comes before it
WORST = StageFacts(
    forced=True,
    changes=(CHANGED,),
    rebuilt_parents=(PARENT,),
    unknown=(REMOTE,),
    blob_missing=True,
    has_cache=False,
    scope="main",
    read_failure="429",
    parents=("base",),
)
UNFORCED = replace(WORST, forced=False)
UNCHANGED = replace(UNFORCED, changes=(), rebuilt_parents=())
KNOWN = replace(UNCHANGED, unknown=())
READABLE = replace(KNOWN, read_failure="")
COMPLETE = replace(READABLE, blob_missing=False)
CACHED = replace(COMPLETE, has_cache=True)
RECORDED = replace(CACHED, recorded=True)
BUILT = replace(RECORDED, built_before=True)


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        (WORST, Decision("rebuild", (Forced(),))),
        (UNFORCED, Decision("rebuild", (CHANGED, PARENT))),
        (UNCHANGED, Decision("unknown", (REMOTE,))),
        (replace(KNOWN, restorable=True), Decision("restore")),
        (KNOWN, Decision("unknown", (CachesUnreadable("429"),))),
        (READABLE, Decision("rebuild", (BlobMissing(),))),
        (COMPLETE, Decision("rebuild", (CacheMissing("main"),))),
        (CACHED, Decision("unknown", (NotInLedger(),))),
        (RECORDED, Decision("rebuild", (ParentsDiffer(("base",)),))),
        (BUILT, Decision("rebuild", (CacheGone(),))),
    ],
)
def test_decide_stage_before_the_build_takes_the_first_condition(facts: StageFacts, decision: Decision) -> None:
    assert decide_stage(facts) == decision


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        (WORST, (Forced(),)),
        (UNFORCED, (CHANGED, PARENT)),
        (replace(UNCHANGED, read_failure=""), (BlobMissing(),)),
        (replace(UNCHANGED, read_failure="", blob_missing=False), (CacheMissing("main"),)),
        (replace(CACHED, unknown=(REMOTE,)), (REMOTE,)),
        (CACHED, (StepRan("RUN a"),)),
        (BUILT, (StepRan("RUN a"),)),
    ],
)
def test_decide_stage_after_the_build_names_a_missing_cache_before_unknown_inputs(
    facts: StageFacts, reasons: Reasons
) -> None:
    """Fall back to the first step that ran."""
    assert decide_stage(replace(facts, step="RUN a")) == Decision("rebuild", reasons)


def make_print(**files: str) -> Fingerprint:
    return Fingerprint("app", tuple(Part("file", name, f"sha1:{value}", 3, 0o644) for name, value in files.items()))


def test_changed_inputs_are_the_files_that_differ() -> None:
    (reason,) = changed_inputs(make_print(a="1", b="1"), make_print(a="1", b="2"))
    assert (reason.change.effect, reason.change.part.name) == ("changed", "b")
    assert changed_inputs(make_print(a="1"), make_print(a="1")) == ()


def test_changed_inputs_without_earlier_build_are_empty() -> None:
    assert changed_inputs(None, make_print(a="1")) == ()


def test_changed_inputs_leave_out_parent_stages_and_unknown_parts() -> None:
    """Leave out what is not the stage's own: parents have reasons themselves."""
    old = Fingerprint("app", (Part("stage", "base", "sha256:1"),))
    new = Fingerprint("app", (Part("stage", "base", "sha256:2"), Part("unknown", "ADD x", "remote")))
    assert changed_inputs(old, new) == ()


def test_nearest_changes_come_from_the_most_similar_saved_build() -> None:
    """Ignore a build whose cache was never saved, unless there is no other."""
    now = make_print(a="2", b="2", c="2")
    similar = LedgerEntry(fingerprint=make_print(a="2", b="2", c="1"), evidence=frozenset({"x"}))
    different = LedgerEntry(fingerprint=make_print(a="1", b="1", c="1"), evidence=frozenset({"y"}))
    unsaved = LedgerEntry(fingerprint=now)
    (reason,) = nearest_changes([different, unsaved, similar], now)
    assert reason.change.part.name == "c"
    assert nearest_changes([unsaved], now) == ()
    assert nearest_changes([], now) == ()


def test_rebuilt_parents_link_to_the_first_reason_of_the_parent() -> None:
    reasons: dict[str, Reasons] = {"deps": (CHANGED, PARENT)}
    assert rebuilt_parents(["deps", "base"], reasons) == (ParentRebuilt("deps", CHANGED), ParentRebuilt("base"))


def test_unknown_inputs_are_the_unknown_parts() -> None:
    unknown = Part("unknown", "ADD x", "remote")
    assert unknown_inputs(Fingerprint("app", (PART, unknown))) == (InputUnknown(unknown),)
