"""What builds were made from, as it is stored and read back."""

from __future__ import annotations

import json
import lzma
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.cache.scopes import GENERATIONS
from stagebake.explain.ledger import Ledger, LedgerEntry, merge_ledgers, parse_ledger, serialize_ledger
from stagebake.fingerprint.model import Fingerprint, Part

KILOBYTE = 1000


def made(value: str, **more: Any) -> LedgerEntry:
    return LedgerEntry(
        fingerprint=Fingerprint("app", (Part("file", "a.txt", f"sha1:{value}", 3, 0o644, 10, 2),)), **more
    )


def values(book: Ledger, stage: str = "app") -> list[str]:
    return [result.fingerprint.parts[0].value.removeprefix("sha1:") for result in book.find_entries(stage)]


def test_what_was_stored_is_read_back() -> None:
    """Every field of every part, the evidence, times and sizes survive; the same ledger gives the same bytes."""
    parts = (
        Part("instruction", "RUN a", "RUN a\nb", 7),
        Part("file", "größe \udcff.txt", "link ../x", 9, None, 0, None),
        Part("ignore", ".dockerignore", "**/*.log\n"),
    )
    result = LedgerEntry(
        fingerprint=Fingerprint("app", parts), evidence=frozenset({"1", "2"}), ran=1.5, restored=0.25, bytes=7, when=99
    )
    book = Ledger(stages={"app": (result,)}, overhead=2.5)
    stored = serialize_ledger(book)
    assert parse_ledger(stored) == book
    assert serialize_ledger(book) == stored
    assert parse_ledger(stored).find_entries("app")[0].fingerprint.digest == result.fingerprint.digest


def document(**changes: Any) -> bytes:
    stored = json.loads(lzma.decompress(serialize_ledger(Ledger(stages={"app": (made("1"),)}, overhead=1.0))))
    return lzma.compress(json.dumps(stored | changes).encode())


GARBAGE = [
    None, b"", b"garbage", lzma.compress(b""), lzma.compress(b"[]"), lzma.compress(b"null"), lzma.compress(b"{}"),
    lzma.compress(b"[" * 100_000), document()[:-9], document(version=2), document(version=None), document(stages=[]),
    document(stages={"app": 3}), document(stages={"app": [{}]}), document(rest="soon"), document(rest=float("inf")),
    document(rest=-1), document(stages={"app": [{"parts": [["file"]]}]}),
    document(stages={"app": [{"parts": [["virus", "", "", 0, None, 0, None]], "evidence": [], "ran": None,
                              "restored": None, "bytes": 0, "when": 0}]}),
]  # fmt: skip


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_ledger_is_an_empty_one(content: bytes | None) -> None:
    """Nothing, garbage, another version, wrong types, half a file: no harm is done, nothing is known."""
    assert parse_ledger(content) == Ledger()


def test_a_bomb_is_no_ledger() -> None:
    """What would unpack into more than memory should hold is not unpacked."""
    bomb = lzma.compress(bytes(300 << 20), preset=0)
    assert parse_ledger(bomb) == Ledger()


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from("abcdef"), max_size=12))
def test_the_last_few_different_results_stay(builds: list[str]) -> None:
    """Of any sequence of builds, the newest results are there, newest first, each fingerprint once."""
    book = Ledger()
    for when, value in enumerate(builds):
        book = book.with_build({"app": made(value, when=when)}, 1.0)
    expected = list(dict.fromkeys(reversed(builds)))[:GENERATIONS]
    assert values(book) == expected


def test_builds_within_the_same_second_stay_in_order() -> None:
    """The last one written is the newest."""
    book = Ledger().with_build({"app": made("1")}, None).with_build({"app": made("2")}, None)
    assert values(parse_ledger(serialize_ledger(book))) == ["2", "1"]


def test_a_build_forgets_nothing_that_it_did_not_see() -> None:
    """A restored stage keeps the time that it took to run, and what its cache held when it was saved."""
    saved = made("1", ran=60.0, bytes=5, evidence=frozenset({"x"}), when=1)
    book = Ledger().with_build({"app": saved}, 3.0).with_build({"app": made("1", restored=0.5, when=2)}, None)
    (result,) = book.find_entries("app")
    assert (result.ran, result.restored, result.bytes, result.evidence) == (60.0, 0.5, 5, frozenset({"x"}))
    assert book.overhead == 3.0


def test_two_ledgers_of_a_scope_as_one() -> None:
    """The copy on this machine and the stored one: all results of both, the newest first."""
    stored = Ledger(stages={"app": (made("3", when=3), made("1", when=1, evidence=frozenset({"x"})))})
    own = Ledger(stages={"app": (made("2", when=2), made("1", when=0))})
    joined = merge_ledgers((stored, own))
    assert values(joined) == ["3", "2", "1"]
    assert joined.find_entries("app")[-1].evidence == {"x"}


def test_a_large_context_makes_a_small_ledger() -> None:
    """Three results each of three stages that take 5,000 files: less than 300 kB."""
    files = [
        Part("file", f"src/part{n % 90}/component{n}/index.tsx", f"sha1:{n * 7919 % 2**160:040x}", 3, 0o644, n, n)
        for n in range(5000)
    ]
    stages = {
        stage: tuple(
            LedgerEntry(
                fingerprint=Fingerprint(stage, (*files[:n], Part("file", "x", f"sha1:{n}"), *files[n:])), when=n
            )
            for n in range(3)
        )
        for stage in ("builder", "test", "docs")
    }
    assert len(serialize_ledger(Ledger(stages=stages))) < 300 * KILOBYTE
