"""Put the reasons of a rebuild into words."""

from __future__ import annotations

import pytest

from stagebake.explain.changes import Change
from stagebake.explain.decision import (
    BlobMissing,
    BuildKitChanged,
    CacheGone,
    CacheMissing,
    CachesUnreadable,
    Forced,
    InputChanged,
    InputUnknown,
    NotInLedger,
    ParentRebuilt,
    ParentsDiffer,
    ParentUnknown,
    RebuildReason,
    StepRan,
)
from stagebake.explain.reasons import cause_chain, reason_json, reason_lines, reason_sentence, reason_words
from stagebake.fingerprint.model import Part


def change_file(name: str) -> InputChanged:
    part = Part("file", name, "sha1:1")
    change = Change(effect="changed", part=part, old=part, new=part)
    return InputChanged(change)


A_TXT = change_file("a.txt")
REMOTE = InputUnknown(Part("unknown", "ADD https://x.test", "remote"))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Forced(), "forced by --no-cache"),
        (ParentRebuilt("base"), "parent `base` rebuilt"),
        (ParentRebuilt("base", A_TXT), "parent `base` rebuilt: app ← base ← a.txt"),
        (ParentRebuilt("base", Forced()), "parent `base` rebuilt: app ← base ← --no-cache"),
        (StepRan("RUN  a \\\n   b"), "changed: RUN a \\ b"),
        (StepRan("RUN echo {} {x}"), "changed: RUN echo {} {x}"),
        (CacheMissing("main"), "no cache in scope main"),
        (BlobMissing(), "cache not used: blob missing in the registry"),
        (CacheGone(), "the cache saved for these inputs is gone"),
        (ParentsDiffer(("base", "deps")), "last built with a different `base`, `deps`"),
        (ParentsDiffer(()), "last built with a different image"),
        (REMOTE, "cannot be known: `ADD https://x.test`: remote"),
        (ParentUnknown("base"), "cannot be known: parent `base`"),
        (CachesUnreadable("429"), "cannot be known: caches not readable: 429"),
        (NotInLedger(), "cannot be known: the ledger does not record what the cache was built from"),
        (A_TXT, "`a.txt` changed"),
    ],
)
def test_reason_sentence_of_each_kind_is_one_line(reason: RebuildReason, text: str) -> None:
    assert reason_sentence("app", reason) == text


@pytest.mark.parametrize(
    ("reason", "kind", "what"),
    [
        (Forced(), "forced", "--no-cache"),
        (ParentRebuilt("base", A_TXT), "parent", "base"),
        (StepRan("RUN a"), "step", "RUN a"),
        (BuildKitChanged("0.25.2", "0.35.1"), "buildkit", "BuildKit 0.25.2 → 0.35.1"),
        (CacheMissing("main"), "cache", "no cache in scope main"),
        (BlobMissing(), "cache", "cache not used: blob missing in the registry"),
        (CacheGone(), "cache", "the cache saved for these inputs is gone"),
        (ParentsDiffer(("base",)), "stage", "last built with a different `base`"),
        (REMOTE, "unknown", "`ADD https://x.test`: remote"),
        (ParentUnknown("base"), "unknown", "parent `base`"),
        (A_TXT, "file", "`a.txt` changed"),
    ],
)
def test_reason_json_has_kind_and_words(reason: RebuildReason, kind: str, what: str) -> None:
    assert reason_json(reason) == {"kind": kind, "what": what}


def test_cause_chain_leads_over_all_stages_to_the_first_cause() -> None:
    deps = ParentRebuilt("deps", change_file("package.json"))
    builder = ParentRebuilt("builder", deps)
    assert cause_chain(builder) == ("builder", "deps", "package.json")
    assert reason_sentence("runtime", builder) == ("parent `builder` rebuilt: runtime ← builder ← deps ← package.json")


@pytest.mark.parametrize(
    ("reason", "chain"),
    [
        (A_TXT, ("a.txt",)),
        (REMOTE, ("ADD https://x.test",)),
        (ParentUnknown("base"), ("base",)),
        (ParentRebuilt("base"), ("base",)),
        (ParentRebuilt("base", CacheMissing("main")), ("base", "no cache in scope main")),
        (Forced(), ()),
        (StepRan("RUN a"), ()),
        (CacheMissing("main"), ()),
    ],
)
def test_cause_chain_ends_with_a_name_or_the_words(reason: RebuildReason, chain: tuple[str, ...]) -> None:
    assert cause_chain(reason) == chain


def test_reason_lines_without_verbose_are_at_most_three() -> None:
    """Replace what does not fit by its number."""
    many = [StepRan(str(number)) for number in range(5)]
    assert reason_lines("app", many[:3]) == ["changed: 0", "changed: 1", "changed: 2"]
    assert reason_lines("app", many) == ["changed: 0", "changed: 1", "and 3 more (--verbose)"]
    assert len(reason_lines("app", many, verbose=True)) == 5


def test_reason_words_control_characters_are_replaced() -> None:
    """Never pass on control characters of a file name, or of a ledger that somebody else wrote."""
    words = reason_words(change_file("\x1b[31m\nred"))
    assert words.isprintable()
    assert "red" in words
