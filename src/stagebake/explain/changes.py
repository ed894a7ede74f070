"""Compare two fingerprints of a stage, part by part. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal

from stagebake.dockerfile.ignore_file import parse_patterns
from stagebake.fingerprint.model import Fingerprint, Part, PartKind

ChangeEffect = Literal["added", "removed", "changed", "moved", "included", "excluded", "unknown"]
PartPair = tuple[Part | None, Part | None]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Difference between two fingerprints.

    `old` is None for a new part, `new` for a removed one; `part` is the new part if there is one, else the old one.
    The effects `included` and `excluded` are changes of ignore rules; `files` are the paths that the new rules include
    or exclude.
    """

    effect: ChangeEffect
    part: Part
    old: Part | None = None
    new: Part | None = None
    files: tuple[str, ...] = ()

    @property
    def kind(self) -> PartKind:
        """Return the kind of the part that changed."""
        return self.part.kind

    @property
    def line(self) -> int:
        """Return the line of the Dockerfile, 0 if the part has none."""
        return self.part.line


def fingerprint_changes(old: Fingerprint, new: Fingerprint) -> tuple[Change, ...]:
    """Return all changes from `old` to `new` in the Dockerfile's order, and every unknown part of `new`."""
    changes = [
        *_list_unknown_parts(new),
        *_compare_in_order(old, new, "instruction"),
        *_compare_in_order(old, new, "stage"),
        *_compare_in_order(old, new, "image"),
        *_compare_by_name(old, new, "arg"),
        *_compare_by_name(old, new, "env"),
        *_compare_by_name(old, new, "platform", "setting"),
        *_compare_files(old, new),
    ]
    if not changes and old.digest != new.digest:
        changes = [_find_moved_part(old, new)]
    changes.sort(key=lambda change: change.line)
    return tuple(changes)


def _list_unknown_parts(fingerprint: Fingerprint) -> list[Change]:
    """Return a change for each part that cannot be known."""
    return [Change(effect="unknown", part=part, new=part) for part in fingerprint.unknown]


def _compare_in_order(old: Fingerprint, new: Fingerprint, kind: PartKind) -> list[Change]:
    """Compare parts whose order counts and whose names may change."""
    old_parts = _select_parts(old, kind)
    new_parts = _select_parts(new, kind)
    old_identities = [part.identity for part in old_parts]
    new_identities = [part.identity for part in new_parts]
    matcher = SequenceMatcher(
        isjunk=None,
        a=old_identities,
        b=new_identities,
        autojunk=False,
    )
    changes: list[Change] = []
    for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            old_run = old_parts[old_start:old_end]
            new_run = new_parts[new_start:new_end]
            changes += _compare_pairs(zip_longest(old_run, new_run))
    return changes


def _compare_by_name(old: Fingerprint, new: Fingerprint, *kinds: PartKind) -> list[Change]:
    """Compare parts whose names identify them."""
    pairs = _differing_pairs(old, new, *kinds)
    return _compare_pairs(pairs)


def _differing_pairs(old: Fingerprint, new: Fingerprint, *kinds: PartKind) -> list[PartPair]:
    """Pair parts of the same name and drop equal pairs; the last part of a name counts."""
    old_by_name = {part.name: part for part in _select_parts(old, *kinds)}
    new_by_name = {part.name: part for part in _select_parts(new, *kinds)}
    pairs: list[PartPair] = []
    for name in old_by_name | new_by_name:
        pair = (old_by_name.get(name), new_by_name.get(name))
        if not _is_same(*pair):
            pairs.append(pair)
    return pairs


def _select_parts(fingerprint: Fingerprint, *kinds: PartKind) -> list[Part]:
    """Return the parts of these kinds."""
    return [part for part in fingerprint.parts if part.kind in kinds]


def _is_same(before: Part | None, after: Part | None) -> bool:
    """Tell whether two parts exist and count as the same for BuildKit."""
    if before is None or after is None:
        return False
    return before.identity == after.identity


def _compare_files(old: Fingerprint, new: Fingerprint) -> list[Change]:
    """Compare files; those that only other ignore rules include or exclude count as a change of the rules."""
    pairs = _differing_pairs(old, new, "file")
    old_rules = _find_ignore_rules(old)
    new_rules = _find_ignore_rules(new)
    if old_rules is None or new_rules is None or old_rules.value == new_rules.value:
        return _compare_pairs(pairs)

    added = [after.name for before, after in pairs if after and not before]
    removed = [before.name for before, after in pairs if before and not after]
    included = _select_excluded(added, old_rules)
    excluded = _select_excluded(removed, new_rules)
    changes: list[Change] = []
    if included:
        rules_change = _rules_change("included", included, old_rules, new_rules)
        changes.append(rules_change)
    if excluded:
        rules_change = _rules_change("excluded", excluded, old_rules, new_rules)
        changes.append(rules_change)

    explained = {*included, *excluded}
    for change in _compare_pairs(pairs):
        if change.part.name not in explained:
            changes.append(change)
    return changes


def _find_ignore_rules(fingerprint: Fingerprint) -> Part | None:
    """Return the ignore rules in force, None if the stage takes no files."""
    rules = _select_parts(fingerprint, "ignore")
    return rules[0] if rules else None


def _select_excluded(files: list[str], rules: Part) -> list[str]:
    """Return the files that these ignore rules exclude."""
    patterns = parse_patterns(rules.value.splitlines())
    return [file for file in files if patterns.matches(file)]


def _rules_change(
    effect: ChangeEffect,
    files: list[str],
    old: Part,
    new: Part,
) -> Change:
    """Return one change for all files that the new ignore rules include or exclude."""
    return Change(
        effect=effect,
        part=new if new.name else old,
        old=old,
        new=new,
        files=tuple(files),
    )


def _compare_pairs(pairs: Iterable[PartPair]) -> list[Change]:
    """Return an added, removed or changed part for each pair."""
    changes: list[Change] = []
    for old, new in pairs:
        if old and new:
            change = Change(effect="changed", part=new, old=old, new=new)
            changes.append(change)
        elif new:
            change = Change(effect="added", part=new, new=new)
            changes.append(change)
        elif old:
            change = Change(effect="removed", part=old, old=old)
            changes.append(change)
    return changes


def _find_moved_part(old: Fingerprint, new: Fingerprint) -> Change:
    """Find the first part at another position, if both fingerprints have the same parts."""
    before = _without_ignore_rules(old)
    after = _without_ignore_rules(new)
    moved = (after or before)[-1]
    for old_part, new_part in zip(before, after, strict=False):
        if not _is_same(old_part, new_part):
            moved = new_part
            break
    return Change(effect="moved", part=moved, old=moved, new=moved)


def _without_ignore_rules(fingerprint: Fingerprint) -> list[Part]:
    """Return the parts that count for the fingerprint's digest."""
    return [part for part in fingerprint.parts if part.kind != "ignore"]
