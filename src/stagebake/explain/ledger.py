"""The ledger: what the last good builds of each stage were made from, how long they took, what their caches hold. Pure.

Advice only. It names what changed since and says what to expect; no build takes anything from it. What is not a ledger
of this version is an empty one.
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from stagebake.cache.evidence import Evidence
from stagebake.cache.scopes import GENERATIONS
from stagebake.fingerprint.model import Fingerprint, Part, PartKind

LEDGER_TYPE = "application/vnd.stagebake.ledger.v1+xz"

_VERSION = 1
# The same files stand there once for each stage and build that took them; xz finds that out in this window of 2 MiB
_PRESET = 2
_MAX_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """What one build made of a stage.

    `evidence` is what its cache then held, empty where it was never saved. `ran` and `restored` are the seconds that
    it last took to run and to restore, None where that was not seen; `bytes` is the size of the layers that are its
    own, `when` the end of the build in seconds since 1970.
    """

    fingerprint: Fingerprint
    evidence: Evidence = frozenset()
    ran: float | None = None
    restored: float | None = None
    bytes: int = 0
    when: int = 0


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Per stage its last results, newest first, and the seconds that a build took beside its stages."""

    stages: Mapping[str, tuple[LedgerEntry, ...]] = field(default_factory=dict)
    rest: float | None = None

    def of(self, stage: str) -> tuple[LedgerEntry, ...]:
        return self.stages.get(stage, ())

    def with_build(self, results: Mapping[str, LedgerEntry], rest: float | None) -> Ledger:
        """The ledger after one more build; of each stage the last few different results stay."""
        stages = dict(self.stages)
        for name, result in results.items():
            stages[name] = _added(self.of(name), result)[:GENERATIONS]
        return Ledger(stages=stages, rest=self.rest if rest is None else rest)


def merge_ledgers(ledgers: Iterable[Ledger]) -> Ledger:
    """All that the ledgers of one scope know."""
    joined = Ledger()
    for ledger in ledgers:
        stages = dict(joined.stages)
        for name, results in ledger.stages.items():
            for result in sorted(results, key=lambda r: r.when):
                stages[name] = _added(stages.get(name, ()), result)
        joined = Ledger(stages=stages, rest=joined.rest if ledger.rest is None else ledger.rest)
    return joined


def stage_entries(ledgers: Iterable[Ledger], stage: str) -> tuple[LedgerEntry, ...]:
    """Return the entries of a stage in all ledgers: those of the first ledger first, the newest build first."""
    return tuple(entry for ledger in ledgers for entry in ledger.of(stage))


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


def _added(known: tuple[LedgerEntry, ...], result: LedgerEntry) -> tuple[LedgerEntry, ...]:
    """Newest first; one result for each fingerprint, with what earlier ones knew of it."""
    twin = next((old for old in known if old.fingerprint.digest == result.fingerprint.digest), None)
    if twin is not None:
        older, newer = sorted((twin, result), key=lambda r: r.when)
        result = replace(
            newer,
            evidence=newer.evidence or older.evidence,
            ran=older.ran if newer.ran is None else newer.ran,
            restored=older.restored if newer.restored is None else newer.restored,
            bytes=newer.bytes or older.bytes,
        )
    others = (old for old in known if old is not twin)
    return tuple(sorted((result, *others), key=lambda r: r.when, reverse=True))


def serialize_ledger(ledger: Ledger) -> bytes:
    """The ledger as it is stored: JSON, compressed. The same ledger gives the same bytes."""
    stages = {name: [_result_out(result) for result in results] for name, results in ledger.stages.items()}
    document = {"version": _VERSION, "stages": stages, "rest": ledger.rest}
    return lzma.compress(json.dumps(document, separators=(",", ":"), sort_keys=True).encode(), preset=_PRESET)


def parse_ledger(content: bytes | None) -> Ledger:
    """What was stored; an empty ledger for whatever is none."""
    try:
        document = json.loads(_decompressed(content or b""))
        if document["version"] != _VERSION:
            return Ledger()
        stages = {
            str(name): tuple(_result_in(str(name), result) for result in results)
            for name, results in document["stages"].items()
        }
        return Ledger(stages=stages, rest=_seconds(document["rest"]))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, lzma.LZMAError):
        return Ledger()


def _decompressed(content: bytes) -> bytes:
    """Raises ValueError for what would fill the memory."""
    reader = lzma.LZMADecompressor()
    text = reader.decompress(content, max_length=_MAX_BYTES)
    if not reader.eof:
        raise ValueError("cut short, or too large")
    return text


def _result_out(result: LedgerEntry) -> dict[str, Any]:
    return {
        "parts": [[p.kind, p.name, p.value, p.line, p.mode, p.size, p.lines] for p in result.fingerprint.parts],
        "evidence": sorted(result.evidence),
        "ran": result.ran,
        "restored": result.restored,
        "bytes": result.bytes,
        "when": result.when,
    }


def _result_in(stage: str, document: Mapping[str, Any]) -> LedgerEntry:
    return LedgerEntry(
        fingerprint=Fingerprint(stage, tuple(_part_in(*part) for part in document["parts"])),
        evidence=frozenset(map(str, document["evidence"])),
        ran=_seconds(document["ran"]),
        restored=_seconds(document["restored"]),
        bytes=int(document["bytes"]),
        when=int(document["when"]),
    )


def _part_in(kind: Any, name: Any, value: Any, line: Any, mode: Any, size: Any, lines: Any) -> Part:
    if kind not in get_args(PartKind):
        raise ValueError(f"no part is a {kind}")
    return Part(kind, str(name), str(value), int(line), _count(mode), int(size), _count(lines))


def _count(number: Any) -> int | None:
    return None if number is None else int(number)


def _seconds(number: Any) -> float | None:
    if number is None:
        return None
    if not math.isfinite(seconds := float(number)) or seconds < 0:
        raise ValueError(f"{number} is no time")
    return seconds
