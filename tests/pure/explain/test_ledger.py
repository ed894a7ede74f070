"""Store what builds were made from, and read it back."""

from __future__ import annotations

import json
import lzma
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.buildkit.versions import Versions
from stagebake.cache.scopes import GENERATIONS
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.ledger import (
    Ledger,
    LedgerEntry,
    last_restore_seconds,
    last_seconds,
    merge_ledgers,
    parse_ledger,
    serialize_ledger,
    stage_entries,
    stage_sizes,
)
from stagebake.fingerprint.model import Fingerprint, Part

KILOBYTE = 1000


def make_entry(value: str, **fields: Any) -> LedgerEntry:
    part = Part("file", "a.txt", f"sha1:{value}", 3, 0o644, 10, 2)
    return LedgerEntry(fingerprint=Fingerprint("app", (part,)), **fields)


def make_ledger(*entries: LedgerEntry) -> Ledger:
    return Ledger(stages={"app": entries})


def read_values(entries: tuple[LedgerEntry, ...]) -> list[str]:
    """Return the values that the entries were made with."""
    return [entry.fingerprint.parts[0].value.removeprefix("sha1:") for entry in entries]


def change_document(**changes: Any) -> bytes:
    """Return a stored ledger with some fields of its JSON replaced."""
    ledger = Ledger(stages={"app": (make_entry("1"),)}, overhead=1.0)
    stored = json.loads(lzma.decompress(serialize_ledger(ledger)))
    return lzma.compress(json.dumps(stored | changes).encode())


def test_serialize_ledger_then_parse_returns_every_field() -> None:
    parts = (
        Part("instruction", "RUN a", "RUN a\nb", 7),
        Part("file", "größe \udcff.txt", "link ../x", 9, None, 0, None),
        Part("ignore", ".dockerignore", "**/*.log\n"),
    )
    entry = LedgerEntry(
        fingerprint=Fingerprint("app", parts),
        evidence=frozenset({"1", "2"}),
        ran=1.5,
        restored=0.25,
        bytes=7,
        when=99,
        versions=Versions("0.35.1", "0.36.1"),
    )
    ledger = Ledger(stages={"app": (entry,)}, overhead=2.5)
    parsed = parse_ledger(serialize_ledger(ledger))
    assert parsed == ledger
    assert parsed.find_entries("app")[0].fingerprint.digest == entry.fingerprint.digest


def test_serialize_ledger_equal_ledgers_give_equal_bytes() -> None:
    """Push nothing new if nothing changed: a stored ledger is named by its content."""
    stored = serialize_ledger(make_ledger(make_entry("1", evidence=frozenset({"b", "a"}))))
    assert serialize_ledger(parse_ledger(stored)) == stored


def test_parse_ledger_of_an_older_stagebake_has_no_versions() -> None:
    document = json.loads(lzma.decompress(serialize_ledger(make_ledger(make_entry("1", when=5)))))
    (stored,) = document["stages"]["app"]
    del stored["buildkit"], stored["buildx"]
    (entry,) = parse_ledger(lzma.compress(json.dumps(document).encode())).find_entries("app")
    assert (entry.versions, entry.when) == (Versions(), 5)


UNKNOWN_PART = {
    "parts": [["virus", "", "", 0, None, 0, None]],
    "evidence": [],
    "ran": None,
    "restored": None,
    "bytes": 0,
    "when": 0,
}
NOT_VALID = [
    None,
    b"",
    b"garbage",
    lzma.compress(b""),
    lzma.compress(b"[]"),
    lzma.compress(b"null"),
    lzma.compress(b"{}"),
    lzma.compress(b"[" * 100_000),
    change_document()[:-9],
    change_document(version=2),
    change_document(version=None),
    change_document(stages=[]),
    change_document(stages={"app": 3}),
    change_document(stages={"app": [{}]}),
    change_document(rest="soon"),
    change_document(rest=float("inf")),
    change_document(rest=-1),
    change_document(stages={"app": [{"parts": [["file"]]}]}),
    change_document(stages={"app": [UNKNOWN_PART]}),
]


@pytest.mark.parametrize("content", NOT_VALID, ids=range(len(NOT_VALID)))
def test_parse_ledger_content_not_valid_is_empty(content: bytes | None) -> None:
    assert parse_ledger(content) == Ledger()


def test_parse_ledger_decompression_bomb_is_empty() -> None:
    bomb = lzma.compress(bytes(300 << 20), preset=0)
    assert parse_ledger(bomb) == Ledger()


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from("abcdef"), max_size=12))
def test_with_build_keeps_the_last_few_different_results(builds: list[str]) -> None:
    ledger = Ledger()
    for when, value in enumerate(builds):
        ledger = ledger.with_build({"app": make_entry(value, when=when)}, 1.0)
    newest_first = list(dict.fromkeys(reversed(builds)))
    assert read_values(ledger.find_entries("app")) == newest_first[:GENERATIONS]


def test_with_build_in_the_same_second_keeps_the_order() -> None:
    first = Ledger().with_build({"app": make_entry("1")}, None)
    second = first.with_build({"app": make_entry("2")}, None)
    parsed = parse_ledger(serialize_ledger(second))
    assert read_values(parsed.find_entries("app")) == ["2", "1"]


def test_with_build_restored_stage_keeps_its_run_time_and_cache() -> None:
    saved = make_entry("1", ran=60.0, bytes=5, evidence=frozenset({"x"}), when=1)
    restored = make_entry("1", restored=0.5, when=2)
    first = Ledger().with_build({"app": saved}, 3.0)
    second = first.with_build({"app": restored}, None)
    (entry,) = second.find_entries("app")
    assert (entry.ran, entry.restored) == (60.0, 0.5)
    assert (entry.bytes, entry.evidence) == (5, frozenset({"x"}))
    assert second.overhead == 3.0


def test_merge_ledgers_has_the_entries_of_both_newest_first() -> None:
    stored = make_ledger(make_entry("3", when=3), make_entry("1", when=1, evidence=frozenset({"x"})))
    local = make_ledger(make_entry("2", when=2), make_entry("1", when=0))
    entries = merge_ledgers((stored, local)).find_entries("app")
    assert read_values(entries) == ["3", "2", "1"]
    assert entries[-1].evidence == {"x"}


def test_stage_entries_of_the_first_ledger_come_first() -> None:
    ledgers = (make_ledger(make_entry("1", when=1)), Ledger(), make_ledger(make_entry("2", when=2)))
    assert read_values(stage_entries(ledgers, "app")) == ["1", "2"]


def test_last_seconds_come_from_the_first_entry_that_knows() -> None:
    restored = make_entry("2", restored=0.5, when=2)
    ran = make_entry("1", ran=60.0, restored=0.7, when=1)
    ledgers = (Ledger(), make_ledger(restored, ran))
    assert last_seconds(ledgers, "app") == 60.0
    assert last_restore_seconds(ledgers, "app") == 0.5
    assert last_seconds(ledgers, "web") is None
    assert last_restore_seconds((), "app") is None


def test_serialize_ledger_of_a_large_context_is_small() -> None:
    """Store three results each of three stages that take 5,000 files in less than 300 kB."""
    files = [
        Part("file", f"src/part{n % 90}/component{n}/index.tsx", f"sha1:{n * 7919 % 2**160:040x}", 3, 0o644, n, n)
        for n in range(5000)
    ]
    stages: dict[str, tuple[LedgerEntry, ...]] = {}
    for stage in ("builder", "test", "docs"):
        entries: list[LedgerEntry] = []
        for n in range(3):
            changed = Part("file", "x", f"sha1:{n}")
            fingerprint = Fingerprint(stage, (*files[:n], changed, *files[n:]))
            entries.append(LedgerEntry(fingerprint=fingerprint, when=n))
        stages[stage] = tuple(entries)
    assert len(serialize_ledger(Ledger(stages=stages))) < 300 * KILOBYTE


def test_stage_sizes_take_the_newest_known_size_of_needed_stages() -> None:
    """A build that only restored a stage does not know its size."""
    graph = parse_dockerfile("FROM scratch AS app\nFROM scratch AS other\nFROM app\n")
    near = make_ledger(make_entry("3", bytes=0, when=3), make_entry("2", bytes=20, when=2), make_entry("1", bytes=10))
    far = Ledger(stages={"app": (make_entry("4", bytes=40),), "other": (make_entry("5", bytes=50),)})
    assert stage_sizes([near, far], graph) == {"app": 20}
    assert stage_sizes([Ledger(), far], graph) == {"app": 40}
    assert stage_sizes([], graph) == {}
