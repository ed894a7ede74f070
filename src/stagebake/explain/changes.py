"""Compare two fingerprints of a stage, part by part. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal

from stagebake.dockerfile.ignore_file import parse_patterns
from stagebake.fingerprint.model import Fingerprint, Part, PartKind

ChangeEffect = Literal["added", "removed", "changed", "moved", "let in", "kept out", "unknown"]
PartPair = tuple[Part | None, Part | None]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between two fingerprints.

    `old` is None for a new part, `new` for a removed one; `part` is the new part if there is one, else the old one.
    The effects `let in` and `kept out` describe ignore rules: `files` are the paths that the new rules let in or keep
    out.
    """

    effect: ChangeEffect
    part: Part
    old: Part | None = None
    new: Part | None = None
    files: tuple[str, ...] = ()

    @property
    def kind(self) -> PartKind:
        return self.part.kind

    @property
    def line(self) -> int:
        return self.part.line


def fingerprint_changes(old: Fingerprint, new: Fingerprint) -> tuple[Change, ...]:
    """Return all changes from `old` to `new` in the Dockerfile's order, and every unknown part of `new`."""
    changes = [Change(effect="unknown", part=part, new=part) for part in new.unknown]
    for kind in ("instruction", "stage", "image"):
        changes += _compare_in_order(_select_parts(old, kind), _select_parts(new, kind))
    for kinds in (("arg",), ("env",), ("platform", "setting")):
        changes += _compare_by_name(_select_parts(old, *kinds), _select_parts(new, *kinds))
    changes += _compare_files(old, new)
    if not changes and old.digest != new.digest:
        changes.append(_find_moved_part(old, new))
    return tuple(sorted(changes, key=lambda change: change.line))


def _select_parts(fingerprint: Fingerprint, *kinds: str) -> list[Part]:
    return [part for part in fingerprint.parts if part.kind in kinds]


def _compare_in_order(old: list[Part], new: list[Part]) -> list[Change]:
    """Compare parts whose order counts and whose names may change."""
    old_identities = [part.identity for part in old]
    new_identities = [part.identity for part in new]
    matcher = SequenceMatcher(None, old_identities, new_identities, autojunk=False)
    changes: list[Change] = []
    for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            changes += _pair_changes(zip_longest(old[old_start:old_end], new[new_start:new_end]))
    return changes


def _compare_by_name(old: Iterable[Part], new: Iterable[Part]) -> list[Change]:
    return _pair_changes(_differing_pairs(old, new))


def _differing_pairs(old: Iterable[Part], new: Iterable[Part]) -> list[PartPair]:
    """Pair parts of the same name and drop equal pairs; the last part of a name counts."""
    old_by_name = {part.name: part for part in old}
    new_by_name = {part.name: part for part in new}
    pairs: list[PartPair] = []
    for name in old_by_name | new_by_name:
        before = old_by_name.get(name)
        after = new_by_name.get(name)
        if before is None or after is None or before.identity != after.identity:
            pairs.append((before, after))
    return pairs


def _compare_files(old: Fingerprint, new: Fingerprint) -> list[Change]:
    """Compare files; report those that other ignore rules let in or keep out as a change of the rules."""
    pairs = _differing_pairs(_select_parts(old, "file"), _select_parts(new, "file"))
    old_rules = _find_ignore_rules(old)
    new_rules = _find_ignore_rules(new)
    if old_rules is None or new_rules is None or old_rules.value == new_rules.value:
        return _pair_changes(pairs)
    old_patterns = parse_patterns(old_rules.value.splitlines())
    new_patterns = parse_patterns(new_rules.value.splitlines())
    let_in: list[str] = []
    kept_out: list[str] = []
    other_pairs: list[PartPair] = []
    for before, after in pairs:
        if after and not before and old_patterns.matches(after.name):
            let_in.append(after.name)
        elif before and not after and new_patterns.matches(before.name):
            kept_out.append(before.name)
        else:
            other_pairs.append((before, after))
    return [
        *_rules_changes("let in", let_in, old_rules, new_rules),
        *_rules_changes("kept out", kept_out, old_rules, new_rules),
        *_pair_changes(other_pairs),
    ]


def _find_ignore_rules(fingerprint: Fingerprint) -> Part | None:
    return next(iter(_select_parts(fingerprint, "ignore")), None)


def _rules_changes(effect: ChangeEffect, files: list[str], old: Part, new: Part) -> list[Change]:
    """Return one change for all files that other ignore rules let in or keep out."""
    if not files:
        return []
    part = new if new.name else old
    return [Change(effect=effect, part=part, old=old, new=new, files=tuple(files))]


def _pair_changes(pairs: Iterable[PartPair]) -> list[Change]:
    changes: list[Change] = []
    for old, new in pairs:
        if old and new:
            changes.append(Change(effect="changed", part=new, old=old, new=new))
        elif new:
            changes.append(Change(effect="added", part=new, new=new))
        elif old:
            changes.append(Change(effect="removed", part=old, old=old))
    return changes


def _find_moved_part(old: Fingerprint, new: Fingerprint) -> Change:
    """Find the first part with another position, where both fingerprints have the same parts."""
    before = [part for part in old.parts if part.kind != "ignore"]
    after = [part for part in new.parts if part.kind != "ignore"]
    moved = (after or before)[-1]
    for old_part, new_part in zip(before, after, strict=False):
        if old_part.identity != new_part.identity:
            moved = new_part
            break
    return Change(effect="moved", part=moved, old=moved, new=moved)
