"""What changed between two fingerprints of a stage, each change in the words that name it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from stagebake.dockerfile.ignore_file import parse_patterns
from stagebake.fingerprint.model import Fingerprint, Part, PartKind

_DIGITS = 12  # of a digest, as people abbreviate it

PartPair = tuple[Part | None, Part | None]


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
    def kind(self) -> PartKind:
        return self.part.kind

    @property
    def line(self) -> int:
        return self.part.line


def fingerprint_changes(old: Fingerprint, new: Fingerprint) -> tuple[Change, ...]:
    """All that changed from `old` to `new`, in the Dockerfile's order; what is unknown is always among it."""
    changes = [
        *_unknown(new),
        *_in_sequence(_of(old, "instruction"), _of(new, "instruction")),
        *_in_sequence(_of(old, "stage"), _of(new, "stage")),
        *_in_sequence(_of(old, "image"), _of(new, "image")),
        *_by_name(_of(old, "arg"), _of(new, "arg")),
        *_by_name(_of(old, "env"), _of(new, "env")),
        *_by_name(_of(old, "platform", "setting"), _of(new, "platform", "setting")),
        *_files(old, new),
    ]
    if not changes and old.digest != new.digest:
        changes = [_moved(old, new)]
    return tuple(sorted(changes, key=lambda change: change.line))


def _of(fingerprint: Fingerprint, *kinds: PartKind) -> list[Part]:
    return [part for part in fingerprint.parts if part.kind in kinds]


def _unknown(new: Fingerprint) -> Iterator[Change]:
    for part in new.unknown:
        yield Change(what=f"`{part.name}` cannot be known: {part.value}", part=part, old=None, new=part)


def _in_sequence(old: list[Part], new: list[Part]) -> Iterator[Change]:
    """Parts whose order counts and whose names may change."""
    matcher = SequenceMatcher(None, [p.identity for p in old], [p.identity for p in new], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            width = max(b - a, d - c)
            before, after = _padded(old[a:b], width), _padded(new[c:d], width)
            yield from _changes(zip(before, after, strict=True))


def _padded(parts: list[Part], width: int) -> list[Part | None]:
    return [*parts, *[None] * (width - len(parts))]


def _by_name(old: Iterable[Part], new: Iterable[Part]) -> Iterator[Change]:
    yield from _changes(_pairs(old, new))


def _pairs(old: Iterable[Part], new: Iterable[Part]) -> list[PartPair]:
    """The parts of each name that are not the same; the last one of a name counts."""
    before, after = {part.name: part for part in old}, {part.name: part for part in new}
    pairs = ((before.get(name), after.get(name)) for name in {**before, **after})
    return [(a, b) for a, b in pairs if a is None or b is None or a.identity != b.identity]


def _files(old: Fingerprint, new: Fingerprint) -> Iterator[Change]:
    pairs = _pairs(_of(old, "file"), _of(new, "file"))
    rules, rules_now = _of(old, "ignore"), _of(new, "ignore")
    if rules and rules_now and rules[0].value != rules_now[0].value:
        let_in = [pair for pair in pairs if pair[1] and not pair[0] and _ignored(rules[0], pair[1])]
        kept_out = [pair for pair in pairs if pair[0] and not pair[1] and _ignored(rules_now[0], pair[0])]
        for verb, group in (("lets in", let_in), ("keeps out", kept_out)):
            if group:
                yield _rules_changed(verb, group, rules[0], rules_now[0])
        pairs = [pair for pair in pairs if pair not in let_in and pair not in kept_out]
    yield from _changes(pairs)


def _ignored(rules: Part, file: Part) -> bool:
    return parse_patterns(rules.value.splitlines()).matches(file.name)


def _rules_changed(verb: str, group: list[PartPair], old: Part, new: Part) -> Change:
    """Another text, or another file: that of the Dockerfile itself counts alone where there is one."""
    names = [part.name for pair in group for part in pair if part]
    count = f"`{names[0]}`" if len(names) == 1 else f"{len(names)} files"
    files = " → ".join(f"`{name}`" for name in dict.fromkeys((old.name, new.name)) if name)
    return Change(what=f"{files} now {verb} {count}", part=new if new.name else old, old=old, new=new)


def _changes(pairs: Iterable[PartPair]) -> Iterator[Change]:
    for old, new in pairs:
        if new:
            yield Change(what=_altered(old, new) if old else _said(new, "added"), part=new, old=old, new=new)
        elif old:
            yield Change(what=_said(old, "removed"), part=old, old=old, new=None)


def _said(part: Part, verb: str) -> str:
    match part.kind:
        case "arg" | "env":
            return f"{part.kind.upper()} {part.name} {verb}{_at(part)}"
        case "stage":
            return f"parent `{part.name}` {verb}{_at(part)}"
        case "image" | "platform" | "setting":
            return f"{part.kind} {part.name} {verb}"
        case "instruction":
            return f"`{part.name}` {verb}{_at(part)}"
    return f"`{part.name}` {verb}"


def _altered(old: Part, new: Part) -> str:
    match new.kind:
        case "arg" | "env":
            return f"{new.kind.upper()} {new.name} {_values(old, new)}{_at(new)}"
        case "image" | "instruction" if old.name != new.name:
            return f"`{old.name}` → `{new.name}`{_at(new)}"
        case "image":
            return f"{'base ' * new.base}image {new.name} moved: {_digests(old, new)}"
        case "platform" | "setting":
            return f"{new.name} {old.value} → {new.value}"
        case "file":
            return _altered_file(old, new)
    return f"parent `{new.name}` rebuilt" if new.kind == "stage" else f"`{new.name}` changed{_at(new)}"


def _digests(old: Part, new: Part) -> str:
    before, after = (part.value.removeprefix("sha256:")[:_DIGITS] for part in (old, new))
    return f"sha256:{before}… → {after}…"


def _values(old: Part, new: Part) -> str:
    return "changed" if new.covered or old.covered else f"{old.value} → {new.value}"


def _altered_file(old: Part, new: Part) -> str:
    if old.value == new.value and old.mode is not None and new.mode is not None:
        return f"mode of {new.name} {old.mode:o} → {new.mode:o}"
    if old.lines is not None and new.lines is not None and old.lines != new.lines:
        count = abs(new.lines - old.lines)
        return f"`{new.name}` {'+' if new.lines > old.lines else '-'}{count} line{'s' if count > 1 else ''}"
    if new.value.startswith("link "):
        return f"`{new.name}` now points at `{new.value.removeprefix('link ')}`"
    return f"`{new.name}` changed"


def _moved(old: Fingerprint, new: Fingerprint) -> Change:
    """The same parts in another order, or once more: the first that is not where it was."""
    before, after = ([p for p in f.parts if p.kind != "ignore"] for f in (old, new))
    pairs = zip(before, after, strict=False)
    part = next((b for a, b in pairs if a.identity != b.identity), (after or before)[-1])
    return Change(what=f"`{part.name}` moved{_at(part)}", part=part, old=part, new=part)


def _at(part: Part) -> str:
    return f" (line {part.line})" if part.line else ""
