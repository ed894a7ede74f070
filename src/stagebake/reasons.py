"""Why a stage is rebuilt, in words that name it: from two fingerprints, and from what became of its parents. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stagebake import change
from stagebake.change import Change
from stagebake.fingerprint import Fingerprint
from stagebake.outcome import Reason

# What a fingerprint says of other stages is said by their own; what cannot be known is no change
_NOT_OWN = ("stage", "unknown")

_LIMIT = 3


def own(old: Fingerprint | None, new: Fingerprint) -> tuple[Reason, ...]:
    """What of the stage itself is not what it was."""
    changes = change.difference(old, new) if old else ()
    return tuple(_reason(found) for found in changes if found.kind not in _NOT_OWN)


def unknown(new: Fingerprint) -> tuple[Reason, ...]:
    """What of the stage cannot be known before it is built."""
    return tuple(Reason("unknown", plain(f"`{part.name}`: {part.value}"), (plain(part.name),)) for part in new.unknown)


def of_parents(parents: Sequence[str], reasons: Mapping[str, Sequence[Reason]]) -> tuple[Reason, ...]:
    """That these stages are rebuilt, each with the chain that leads to the cause of it."""
    return tuple(Reason("parent", name, _chain(name, reasons)) for name in parents)


def lines(stage: str, reasons: Sequence[Reason], *, verbose: bool = False) -> list[str]:
    """The reasons as people read them; beyond three lines only how many more there are."""
    said = [sentence(stage, reason) for reason in reasons]
    if verbose or len(said) <= _LIMIT:
        return said
    return [*said[: _LIMIT - 1], f"and {len(said) - _LIMIT + 1} more (--verbose)"]


def sentence(stage: str, reason: Reason) -> str:
    """One reason; where a cause lies two stages away or farther, the whole way to it."""
    match reason.kind:
        case "parent":
            way = f": {' ← '.join((stage, *reason.chain))}" if len(reason.chain) > 1 else ""
            return f"parent `{reason.what}` rebuilt{way}"
        case "forced":
            return f"forced by {reason.what}"
        case "step":
            return f"changed: {plain(reason.what)}"
        case "unknown":
            return f"cannot be known: {reason.what}"
    return reason.what


def _reason(found: Change) -> Reason:
    return Reason(found.kind, plain(found.what), (plain(found.part.name),))


def _chain(name: str, reasons: Mapping[str, Sequence[Reason]]) -> tuple[str, ...]:
    """The stage, what it was rebuilt for, and so on to the first cause."""
    first = next(iter(reasons.get(name, ())), None)
    if first is None:
        return (name,)
    return (name, *(first.chain or (plain(first.what),)))


def plain(text: str) -> str:
    """Text on one line, of characters that can be printed: names of files and stages may hold any."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
