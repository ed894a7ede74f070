"""What changed between two fingerprints of a stage, each change in the words that name it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stagebake.fingerprint import Fingerprint, Kind, Part


@dataclass(frozen=True, kw_only=True)
class Change:
    """One part that is not what it was, in words: "`app/page.jsx` changed", "ARG NODE_MAJOR 18 → 20 (line 4)".

    `old` is None for a new part, `new` for one that is gone; `part` is the new one where there is one, else the old.
    """

    what: str
    part: Part
    old: Part | None
    new: Part | None

    @property
    def kind(self) -> Kind:
        return self.part.kind

    @property
    def line(self) -> int:
        return self.part.line


def difference(old: Fingerprint, new: Fingerprint) -> tuple[Change, ...]:
    """All that changed from `old` to `new`, in the Dockerfile's order; what is unknown is always among it."""
    before = {(part.kind, part.name): part for part in old.parts if part.kind != "ignore"}
    after = {(part.kind, part.name): part for part in new.parts if part.kind != "ignore"}
    pairs = ((before.get(key), after.get(key)) for key in {**before, **after})
    return tuple(_change(a, b) for a, b in pairs if _differ(a, b))


def _change(old: Part | None, new: Part | None) -> Change:
    part = new or old or Part("unknown", "", "")
    return Change(what=f"`{part.name}` changed", part=part, old=old, new=new)


def _differ(old: Part | None, new: Part | None) -> bool:
    return old is None or new is None or new.kind == "unknown" or old.identity != new.identity
