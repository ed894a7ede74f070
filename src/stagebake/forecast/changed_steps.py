"""Find which instructions of a stage changed since the results that a cache holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stagebake.fingerprint.model import Fingerprint
from stagebake.forecast.inline_cache import first_changed_line

# Parts that no step of their own has: they count from the next step on
_NO_STEP = ("arg", "env", "platform", "setting", "ignore")


def changed_since(stored: Sequence[Fingerprint], now: Fingerprint) -> frozenset[int] | None:
    """Return the lines of the changed instructions; None without a stored result: then every step runs.

    BuildKit finds each step in any of the stored results, so the longest unchanged beginning counts.
    """
    if not stored:
        return None
    known = _part_identities(stored)
    lines = {part.line for part in now.parts if part.kind not in _NO_STEP and part.identity not in known}
    beginnings = [first_changed_line(old, now) for old in stored]
    lines.add(max(line for line in beginnings if line is not None))
    return frozenset(lines)


def _part_identities(prints: Iterable[Fingerprint]) -> set[object]:
    return {part.identity for fingerprint in prints for part in fingerprint.parts}
