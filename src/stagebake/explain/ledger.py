"""Remember what the last good builds of each stage were made from, how long they took, what their caches hold. Pure.

The ledger explains and predicts; no build takes anything from it. Content that is not a ledger of this version counts
as an empty ledger.
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from stagebake.buildkit.versions import Versions
from stagebake.cache.evidence import Evidence
from stagebake.cache.scopes import GENERATIONS
from stagebake.dockerfile.stages import StageGraph
from stagebake.fingerprint.model import Fingerprint, Part, PartKind

_VERSION = 1
# The same files are listed once for each stage and build; preset 2 has a window of 2 MiB, enough to find the copies
_XZ_PRESET = 2
_MAX_BYTES = 1 << 28
# Errors that content which is not a ledger can cause
_NOT_VALID = (
    ArithmeticError,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    lzma.LZMAError,
)


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """Result of one build of a stage.

    `evidence` is what its cache held, empty if it was never saved. `ran` and `restored` are the seconds that it last
    took to run and to restore, None if not known. `bytes` is the size of its own layers, `when` the end of the build
    in seconds since 1970. `versions` are those of the last build that ran or restored it. `built` is the end of the
    build that ran it last; where no ledger knows that, of the first build that restored it.
    """

    fingerprint: Fingerprint
    evidence: Evidence = frozenset()
    ran: float | None = None
    restored: float | None = None
    bytes: int = 0
    when: int = 0
    built: int = 0
    versions: Versions = field(default_factory=Versions)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Last results of each stage, newest first, and the seconds that a build took beside its stages."""

    stages: Mapping[str, tuple[LedgerEntry, ...]] = field(default_factory=dict)
    overhead: float | None = None

    def find_entries(self, stage: str) -> tuple[LedgerEntry, ...]:
        """Return the last results of a stage, newest first."""
        return self.stages.get(stage, ())

    def with_build(self, entries: Mapping[str, LedgerEntry], overhead: float | None) -> Ledger:
        """Return the ledger after one more build, with the last few different results of each stage."""
        stages = dict(self.stages)
        for name, entry in entries.items():
            newest_first = _add_entry(self.find_entries(name), entry)
            stages[name] = newest_first[:GENERATIONS]
        return Ledger(stages=stages, overhead=_first_known(overhead, self.overhead))


def merge_ledgers(ledgers: Iterable[Ledger]) -> Ledger:
    """Merge the ledgers of one scope into one; of the overheads the last one counts."""
    merged = Ledger()
    for ledger in ledgers:
        stages = dict(merged.stages)
        for name, entries in ledger.stages.items():
            for entry in sorted(entries, key=_build_time):
                known = stages.get(name, ())
                stages[name] = _add_entry(known, entry)
        merged = Ledger(stages=stages, overhead=_first_known(ledger.overhead, merged.overhead))
    return merged


def stage_entries(ledgers: Iterable[Ledger], stage: str) -> tuple[LedgerEntry, ...]:
    """Return the entries of a stage in all ledgers: those of the first ledger first, the newest build first."""
    return tuple(entry for ledger in ledgers for entry in ledger.find_entries(stage))


def last_seconds(ledgers: Iterable[Ledger], stage: str) -> float | None:
    """Return the seconds that the stage took when it last ran, of the first ledger that knows; None if none does."""
    for entry in stage_entries(ledgers, stage):
        if entry.ran is not None:
            return entry.ran
    return None


def last_restore_seconds(ledgers: Iterable[Ledger], stage: str) -> float | None:
    """Return the seconds that the stage took when it was last restored; None if no ledger knows."""
    for entry in stage_entries(ledgers, stage):
        if entry.restored is not None:
            return entry.restored
    return None


def last_versions(entries: Iterable[LedgerEntry], now: Fingerprint) -> Versions:
    """Return the versions that last built a stage with these inputs, of the first entry that knows."""
    for entry in entries:
        if entry.fingerprint.digest == now.digest and entry.versions.buildkit:
            return entry.versions
    return Versions()


def last_built(entries: Iterable[LedgerEntry], now: Fingerprint) -> int:
    """Return when a stage with these inputs ran last, in seconds since 1970; 0 where no entry knows."""
    return max((entry.built for entry in entries if entry.fingerprint.digest == now.digest), default=0)


def stage_sizes(ledgers: Iterable[Ledger], graph: StageGraph) -> dict[str, int]:
    """Return the compressed bytes of each needed stage's own layers, of the newest build that knows them."""
    ledgers = tuple(ledgers)
    sizes: dict[str, int] = {}
    for stage in graph.needed_stages():
        for entry in stage_entries(ledgers, stage.name):
            if entry.bytes:
                sizes[stage.name] = entry.bytes
                break
    return sizes


def _add_entry(known: tuple[LedgerEntry, ...], entry: LedgerEntry) -> tuple[LedgerEntry, ...]:
    """Add an entry, newest first; one of the same fingerprint is merged into it."""
    digest = entry.fingerprint.digest
    others: list[LedgerEntry] = []
    for old in known:
        if old.fingerprint.digest == digest:
            entry = _merge_entries(old, entry)
        else:
            others.append(old)
    newest_first = sorted((entry, *others), key=_build_time, reverse=True)
    return tuple(newest_first)


def _merge_entries(one: LedgerEntry, other: LedgerEntry) -> LedgerEntry:
    """Return the newer of two entries of the same fingerprint, with what only the older one knows."""
    older, newer = sorted((one, other), key=_build_time)
    return replace(
        newer,
        evidence=newer.evidence or older.evidence,
        ran=_first_known(newer.ran, older.ran),
        restored=_first_known(newer.restored, older.restored),
        built=max(newer.built, older.built),
        bytes=newer.bytes or older.bytes,
        versions=newer.versions if newer.versions.buildkit else older.versions,
    )


def _build_time(entry: LedgerEntry) -> int:
    return entry.when


def _first_known(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


def serialize_ledger(ledger: Ledger) -> bytes:
    """Return the ledger as compressed JSON; equal ledgers give equal bytes."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for name, entries in ledger.stages.items():
        stages[name] = [_entry_to_json(entry) for entry in entries]
    document = {
        "version": _VERSION,
        "stages": stages,
        "rest": ledger.overhead,
    }
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    return lzma.compress(text.encode(), preset=_XZ_PRESET)


def parse_ledger(content: bytes | None) -> Ledger:
    """Parse a stored ledger; content that is missing or not valid gives an empty one."""
    try:
        document = json.loads(_decompress(content or b""))
        return _ledger_from_json(document)
    except _NOT_VALID:
        return Ledger()


def _ledger_from_json(document: Mapping[str, Any]) -> Ledger:
    if document["version"] != _VERSION:
        return Ledger()
    stages: dict[str, tuple[LedgerEntry, ...]] = {}
    for key, entries in document["stages"].items():
        name = str(key)
        stages[name] = tuple(_entry_from_json(name, entry) for entry in entries)
    return Ledger(stages=stages, overhead=_parse_optional_seconds(document["rest"]))


def _decompress(content: bytes) -> bytes:
    """Decompress a ledger. Raises ValueError if it is cut short or would fill the memory."""
    reader = lzma.LZMADecompressor()
    text = reader.decompress(content, max_length=_MAX_BYTES)
    if not reader.eof:
        raise ValueError("cut short, or too large")
    return text


def _entry_to_json(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "parts": [_part_to_json(part) for part in entry.fingerprint.parts],
        "evidence": sorted(entry.evidence),
        "ran": entry.ran,
        "restored": entry.restored,
        "bytes": entry.bytes,
        "when": entry.when,
        "built": entry.built,
        "buildkit": entry.versions.buildkit,
        "buildx": entry.versions.buildx,
    }


def _entry_from_json(stage: str, document: Mapping[str, Any]) -> LedgerEntry:
    parts = tuple(_part_from_json(*part) for part in document["parts"])
    return LedgerEntry(
        fingerprint=Fingerprint(stage, parts),
        evidence=frozenset(map(str, document["evidence"])),
        ran=_parse_optional_seconds(document["ran"]),
        restored=_parse_optional_seconds(document["restored"]),
        bytes=int(document["bytes"]),
        when=int(document["when"]),
        built=int(document.get("built", document["when"])),
        versions=Versions(str(document.get("buildkit", "")), str(document.get("buildx", ""))),
    )


def _part_to_json(part: Part) -> list[Any]:
    return [
        part.kind,
        part.name,
        part.value,
        part.line,
        part.mode,
        part.size,
        part.lines,
    ]


def _part_from_json(
    kind: Any,
    name: Any,
    value: Any,
    line: Any,
    mode: Any,
    size: Any,
    lines: Any,
) -> Part:
    if kind not in get_args(PartKind):
        raise ValueError(f"unknown kind of part: {kind}")
    return Part(
        kind,
        str(name),
        str(value),
        int(line),
        mode=_parse_count(mode),
        size=int(size),
        lines=_parse_count(lines),
    )


def _parse_count(number: Any) -> int | None:
    return None if number is None else int(number)


def _parse_optional_seconds(number: Any) -> float | None:
    return None if number is None else parse_seconds(number)


def parse_seconds(number: Any) -> float:
    """Return seconds. Raises ValueError if they are negative or not a number."""
    seconds = float(number)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"`{number}` is not a time in seconds")
    return seconds
