"""Why a stage is rebuilt, in words."""

from __future__ import annotations

import pytest

from stagebake.build.result import RebuildReason
from stagebake.explain.reasons import own_reasons, parent_reasons, reason_lines, reason_sentence
from stagebake.fingerprint.model import Fingerprint, Part


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (RebuildReason("forced", "--no-cache"), "forced by --no-cache"),
        (RebuildReason("parent", "base"), "parent `base` rebuilt"),
        (RebuildReason("parent", "base", ("base",)), "parent `base` rebuilt"),
        (RebuildReason("parent", "base", ("base", "a.txt")), "parent `base` rebuilt: app ← base ← a.txt"),
        (RebuildReason("step", "RUN  a \\\n   b"), "changed: RUN a \\ b"),
        (RebuildReason("step", "RUN echo {} {x}"), "changed: RUN echo {} {x}"),
        (RebuildReason("cache", "no cache in scope main"), "no cache in scope main"),
        (RebuildReason("unknown", "`ADD https://x.test`: remote"), "cannot be known: `ADD https://x.test`: remote"),
        (RebuildReason("file", "`a.txt` changed"), "`a.txt` changed"),
    ],
    ids=["forced", "parent", "parent-of-nothing", "chain", "step", "braces", "cache", "unknown", "file"],
)
def test_sentences(reason: RebuildReason, text: str) -> None:
    """Each kind of reason is a phrase of its own, on one line, that names what it is about."""
    assert reason_sentence("app", reason) == text


def files(*parts: tuple[str, str]) -> Fingerprint:
    return Fingerprint("app", tuple(Part("file", name, f"sha1:{value}", 3, 0o644) for name, value in parts))


def test_what_changed_is_named_and_only_that() -> None:
    """Of two fingerprints, the file that differs is a reason; what is the same, and other stages, are none."""
    old, new = files(("a", "1"), ("b", "1")), files(("a", "1"), ("b", "2"))
    (reason,) = own_reasons(old, new)
    assert (reason.kind, reason.what, reason.chain) == ("file", "`b` changed", ("b",))
    assert own_reasons(new, new) == ()
    assert own_reasons(None, new) == ()
    stage = Part("stage", "base", "sha256:1")
    assert own_reasons(Fingerprint("app", (stage,)), Fingerprint("app", (Part("stage", "base", "sha256:2"),))) == ()


def test_ignore_rules_are_a_reason_where_files_come_and_go() -> None:
    """The rules let a file in: that is said of the rules. Rules that change nothing are no reason."""

    def under(rules: str, *names: str) -> Fingerprint:
        parts = (Part("ignore", ".dockerignore", rules), *files(*((name, "1") for name in names)).parts)
        return Fingerprint("app", parts)

    (reason,) = own_reasons(under("*.log\n", "a"), under("", "a", "b.log"))
    assert reason.what == "`.dockerignore` now lets in `b.log`"
    assert own_reasons(under("*.log\n", "a"), under("*.log\n*.md\n", "a")) == ()


def test_a_chain_leads_to_the_first_cause() -> None:
    """`runtime ← builder ← app/page.jsx`: over as many stages as there are."""
    why: dict[str, tuple[RebuildReason, ...]] = {
        "deps": (RebuildReason("file", "`package.json` changed", ("package.json",)),)
    }
    why["builder"] = parent_reasons(["deps"], why)
    (reason,) = parent_reasons(["builder"], why)
    assert reason_sentence("runtime", reason) == ("parent `builder` rebuilt: runtime ← builder ← deps ← package.json")


def test_three_lines_a_stage() -> None:
    """Three reasons are said; of more the first two and how many there are besides, all of them when asked."""
    many = [RebuildReason("file", f"`{number}` changed") for number in range(5)]
    assert reason_lines("app", many[:3]) == ["`0` changed", "`1` changed", "`2` changed"]
    assert reason_lines("app", many) == ["`0` changed", "`1` changed", "and 3 more (--verbose)"]
    assert len(reason_lines("app", many, verbose=True)) == 5


def test_a_name_cannot_write_on_the_terminal() -> None:
    """Control characters in the name of a file, or in a ledger that somebody else wrote, are not passed on."""
    old, new = files(("a", "1")), files(("a", "1"), ("\x1b[31m\nred", "2"))
    (reason,) = own_reasons(old, new)
    assert reason.what.isprintable()
    assert "red" in reason.what
