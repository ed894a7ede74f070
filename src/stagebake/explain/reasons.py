"""Why a stage is rebuilt, in words that name it: from two fingerprints, and from what became of its parents. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stagebake.build.result import RebuildReason
from stagebake.explain.changes import Change, fingerprint_changes
from stagebake.fingerprint.model import Fingerprint
from stagebake.formatting import make_printable

# What a fingerprint says of other stages is said by their own; what cannot be known is no change
_NOT_OWN = ("stage", "unknown")

_LIMIT = 3


def own_reasons(old: Fingerprint | None, new: Fingerprint) -> tuple[RebuildReason, ...]:
    """What of the stage itself is not what it was."""
    changes = fingerprint_changes(old, new) if old else ()
    return tuple(_reason(found) for found in changes if found.kind not in _NOT_OWN)


def unknown_reasons(new: Fingerprint) -> tuple[RebuildReason, ...]:
    """What of the stage cannot be known before it is built."""
    return tuple(
        RebuildReason("unknown", make_printable(f"`{part.name}`: {part.value}"), (make_printable(part.name),))
        for part in new.unknown
    )


def parent_reasons(parents: Sequence[str], reasons: Mapping[str, Sequence[RebuildReason]]) -> tuple[RebuildReason, ...]:
    """That these stages are rebuilt, each with the chain that leads to the cause of it."""
    return tuple(RebuildReason("parent", name, _chain(name, reasons)) for name in parents)


def reason_lines(stage: str, reasons: Sequence[RebuildReason], *, verbose: bool = False) -> list[str]:
    """The reasons as people read them; beyond three lines only how many more there are."""
    said = [reason_sentence(stage, reason) for reason in reasons]
    if verbose or len(said) <= _LIMIT:
        return said
    return [*said[: _LIMIT - 1], f"and {len(said) - _LIMIT + 1} more (--verbose)"]


def reason_sentence(stage: str, reason: RebuildReason) -> str:
    """One reason; where a cause lies two stages away or farther, the whole way to it."""
    match reason.kind:
        case "parent":
            way = f": {' ← '.join((stage, *reason.chain))}" if len(reason.chain) > 1 else ""
            return f"parent `{reason.what}` rebuilt{way}"
        case "forced":
            return f"forced by {reason.what}"
        case "step":
            return f"changed: {make_printable(reason.what)}"
        case "unknown":
            return f"cannot be known: {reason.what}"
    return reason.what


def _reason(found: Change) -> RebuildReason:
    return RebuildReason(found.kind, make_printable(found.what), (make_printable(found.part.name),))


def _chain(name: str, reasons: Mapping[str, Sequence[RebuildReason]]) -> tuple[str, ...]:
    """The stage, what it was rebuilt for, and so on to the first cause."""
    first = next(iter(reasons.get(name, ())), None)
    if first is None:
        return (name,)
    return (name, *(first.chain or (make_printable(first.what),)))
