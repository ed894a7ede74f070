"""Why a stage is rebuilt, in words."""

from __future__ import annotations

import pytest

from stagebake.explain.changes import Change
from stagebake.explain.decision import (
    BlobMissing,
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
    Reasons,
    RebuildReason,
    StepRan,
    changed_inputs,
    rebuilt_parents,
)
from stagebake.explain.reasons import cause_chain, reason_json, reason_lines, reason_sentence, reason_words
from stagebake.fingerprint.model import Fingerprint, Part

A_TXT = Part("file", "a.txt", "sha1:1")
A_TXT_CHANGED = InputChanged(Change(effect="changed", part=A_TXT, old=A_TXT, new=A_TXT))
REMOTE = InputUnknown(Part("unknown", "ADD https://x.test", "remote"))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Forced(), "forced by --no-cache"),
        (ParentRebuilt("base"), "parent `base` rebuilt"),
        (ParentRebuilt("base", A_TXT_CHANGED), "parent `base` rebuilt: app ← base ← a.txt"),
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
        (A_TXT_CHANGED, "`a.txt` changed"),
    ],
)
def test_sentences(reason: RebuildReason, text: str) -> None:
    """Each kind of reason is a phrase of its own, on one line, that names what it is about."""
    assert reason_sentence("app", reason) == text


def files(*parts: tuple[str, str]) -> Fingerprint:
    return Fingerprint("app", tuple(Part("file", name, f"sha1:{value}", 3, 0o644) for name, value in parts))


def test_what_changed_is_named_and_only_that() -> None:
    """Of two fingerprints, the file that differs is a reason; what is the same, and other stages, are none."""
    old, new = files(("a", "1"), ("b", "1")), files(("a", "1"), ("b", "2"))
    (reason,) = changed_inputs(old, new)
    assert reason_json(reason) == {"kind": "file", "what": "`b` changed"}
    assert cause_chain(reason) == ("b",)
    assert changed_inputs(new, new) == ()
    assert changed_inputs(None, new) == ()
    stage = Part("stage", "base", "sha256:1")
    assert changed_inputs(Fingerprint("app", (stage,)), Fingerprint("app", (Part("stage", "base", "sha256:2"),))) == ()


def test_ignore_rules_are_a_reason_where_files_come_and_go() -> None:
    """The rules let a file in: that is said of the rules. Rules that change nothing are no reason."""

    def under(rules: str, *names: str) -> Fingerprint:
        parts = (Part("ignore", ".dockerignore", rules), *files(*((name, "1") for name in names)).parts)
        return Fingerprint("app", parts)

    (reason,) = changed_inputs(under("*.log\n", "a"), under("", "a", "b.log"))
    assert reason_words(reason) == "`.dockerignore` now includes `b.log`"
    assert changed_inputs(under("*.log\n", "a"), under("*.log\n*.md\n", "a")) == ()


def test_a_chain_leads_to_the_first_cause() -> None:
    """`runtime ← builder ← app/page.jsx`: over as many stages as there are."""
    package = Part("file", "package.json", "sha1:1")
    why: dict[str, Reasons] = {
        "deps": (InputChanged(Change(effect="changed", part=package, old=package, new=package)),)
    }
    why["builder"] = rebuilt_parents(["deps"], why)
    (reason,) = rebuilt_parents(["builder"], why)
    assert reason_sentence("runtime", reason) == ("parent `builder` rebuilt: runtime ← builder ← deps ← package.json")


def test_three_lines_a_stage() -> None:
    """Three reasons are said; of more the first two and how many there are besides, all of them when asked."""
    many = [StepRan(str(number)) for number in range(5)]
    assert reason_lines("app", many[:3]) == ["changed: 0", "changed: 1", "changed: 2"]
    assert reason_lines("app", many) == ["changed: 0", "changed: 1", "and 3 more (--verbose)"]
    assert len(reason_lines("app", many, verbose=True)) == 5


def test_a_name_cannot_write_on_the_terminal() -> None:
    """Control characters in the name of a file, or in a ledger that somebody else wrote, are not passed on."""
    old, new = files(("a", "1")), files(("a", "1"), ("\x1b[31m\nred", "2"))
    (reason,) = changed_inputs(old, new)
    assert reason_words(reason).isprintable()
    assert "red" in reason_words(reason)
