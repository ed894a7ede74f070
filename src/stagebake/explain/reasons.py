"""Put the reasons of a rebuild into words, for people and for JSON documents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from stagebake.explain.changes import Change
from stagebake.explain.decision import (
    BlobMissing,
    BuildKitChanged,
    CacheMissing,
    CacheProblem,
    CachesUnreadable,
    Forced,
    InputChanged,
    InputUnknown,
    ParentRebuilt,
    ParentsDiffer,
    ParentUnknown,
    RebuildReason,
    StepRan,
    TooOld,
    Unknown,
)
from stagebake.fingerprint.model import Part
from stagebake.formatting import make_printable

_MAX_LINES = 3
_DIGEST_DIGITS = 12
# Value of a file part that is a symbolic link, before its target
_LINK = "link "


def reason_lines(stage: str, reasons: Sequence[RebuildReason], *, verbose: bool = False) -> list[str]:
    """Return one sentence for each reason; without `verbose` at most three lines, the last with the number left out."""
    sentences = [reason_sentence(stage, reason) for reason in reasons]
    if verbose or len(sentences) <= _MAX_LINES:
        return sentences
    shown = sentences[: _MAX_LINES - 1]
    left_out = len(sentences) - len(shown)
    return [*shown, f"and {left_out} more (--verbose)"]


def reason_sentence(stage: str, reason: RebuildReason) -> str:
    """Return one reason as a sentence; a parent that is rebuilt for another stage names all stages up to the cause."""
    words = make_printable(reason_words(reason))
    match reason:
        case ParentRebuilt():
            chain = cause_chain(reason)
            path = f": {' ← '.join((stage, *chain))}" if len(chain) > 1 else ""
            return f"parent `{words}` rebuilt{path}"
        case Forced():
            return f"forced by {words}"
        case StepRan():
            return f"changed: {words}"
        case Unknown():
            return f"cannot be known: {words}"
    return words


def reason_json(reason: RebuildReason) -> dict[str, Any]:
    """Return a reason for JSON documents: its kind, or that of the changed part, and what it is about."""
    kind = reason.change.kind if isinstance(reason, InputChanged) else reason.kind
    return {"kind": kind, "what": reason_words(reason)}


def reason_words(reason: RebuildReason) -> str:
    """Return what a reason is about."""
    match reason:
        case InputChanged():
            return make_printable(change_words(reason.change))
        case ParentRebuilt():
            return reason.parent
        case StepRan() | BuildKitChanged() | TooOld():
            return _run_words(reason)
        case CacheProblem():
            return _cache_words(reason)
        case Unknown():
            return _unknown_words(reason)
    return "--no-cache"


def _age_words(reason: TooOld) -> str:
    """Return the limit, in days or hours, and the day of the result in UTC."""
    day = datetime.fromtimestamp(reason.built, UTC).date()
    count, unit = reason.max_age / 86_400, "day"
    if reason.max_age % 86_400:
        count, unit = reason.max_age / 3600, "hour"
    plural = "" if count == 1 else "s"
    return f"older than {count:g} {unit}{plural} (built {day})"


def _run_words(reason: StepRan | BuildKitChanged | TooOld) -> str:
    if isinstance(reason, BuildKitChanged):
        return f"BuildKit {reason.old} → {reason.new}"
    if isinstance(reason, TooOld):
        return _age_words(reason)
    return reason.step


def _cache_words(problem: CacheProblem) -> str:
    match problem:
        case CacheMissing():
            return f"no cache in scope {problem.scope}"
        case BlobMissing():
            return "cache not used: blob missing in the registry"
        case ParentsDiffer():
            parents = ", ".join(f"`{name}`" for name in problem.parents)
            return f"last built with a different {parents or 'image'}"
    return "the cache saved for these inputs is gone"


def _unknown_words(reason: Unknown) -> str:
    match reason:
        case InputUnknown():
            return make_printable(f"`{reason.part.name}`: {reason.part.value}")
        case ParentUnknown():
            return f"parent `{reason.parent}`"
        case CachesUnreadable():
            return f"caches not readable: {reason.failure}"
    return "the ledger does not record what the cache was built from"


def cause_chain(reason: RebuildReason | None) -> tuple[str, ...]:
    """Return the names from a reason to the first cause: the parent stages, then the changed part or the words."""
    names: list[str] = []
    while isinstance(reason, ParentRebuilt):
        names.append(reason.parent)
        reason = reason.cause
    if reason is not None:
        words = reason_words(reason) if names else ""
        names.append(make_printable(_find_name(reason) or words))
    return tuple(name for name in names if name)


def _find_name(reason: RebuildReason) -> str:
    """Return the name of the part or stage that a reason is about, "" without one."""
    match reason:
        case InputChanged():
            return reason.change.part.name
        case InputUnknown():
            return reason.part.name
        case ParentUnknown():
            return reason.parent
    return ""


def change_words(change: Change) -> str:
    """Return one change in words: "`app/page.jsx` changed", "ARG NODE_MAJOR 18 → 20 (line 4)"."""
    match change.effect:
        case "changed" if change.old and change.new:
            return _changed_words(change.old, change.new)
        case "added" | "removed":
            return _presence_words(change.part, change.effect)
        case "included" | "excluded":
            return _rules_words(change)
        case "unknown":
            return f"`{change.part.name}` cannot be known: {change.part.value}"
    return f"`{change.part.name}` moved{_line_words(change.part)}"


def _rules_words(change: Change) -> str:
    """Name the ignore file in force, both files if another one is in force now, and the files or their number."""
    rules = [part for part in (change.old, change.new) if part]
    names = [f"`{part.name}`" for part in rules if part.name]
    source = " → ".join(dict.fromkeys(names))
    count = len(change.files)
    files = f"{count} files" if count > 1 else f"`{change.files[0]}`"
    verb = "includes" if change.effect == "included" else "excludes"
    return f"{source} now {verb} {files}"


def _presence_words(part: Part, verb: str) -> str:
    """Say that a part was added or removed."""
    where = _line_words(part)
    match part.kind:
        case "arg" | "env":
            instruction = part.kind.upper()
            return f"{instruction} {part.name} {verb}{where}"
        case "stage":
            return f"parent `{part.name}` {verb}{where}"
        case "instruction":
            return f"`{part.name}` {verb}{where}"
        case "image" | "platform" | "setting":
            return f"{part.kind} {part.name} {verb}"
    return f"`{part.name}` {verb}"


def _changed_words(old: Part, new: Part) -> str:
    """Say how a part changed."""
    match new.kind:
        case "arg" | "env":
            instruction = new.kind.upper()
            values = _value_words(old, new)
            return f"{instruction} {new.name} {values}{_line_words(new)}"
        case "image":
            return _changed_image_words(old, new)
        case "instruction":
            return _changed_instruction_words(old, new)
        case "file":
            return _changed_file_words(old, new)
        case "stage":
            return f"parent `{new.name}` rebuilt"
    return f"{new.name} {old.value} → {new.value}"


def _changed_image_words(old: Part, new: Part) -> str:
    """Name both images, or both digests of an image whose tag has moved."""
    if old.name != new.name:
        return _renamed_words(old, new)
    noun = "base image" if new.base else "image"
    before = _short_digest(old)
    after = _short_digest(new)
    return f"{noun} {new.name} moved: sha256:{before}… → {after}…"


def _changed_instruction_words(old: Part, new: Part) -> str:
    if old.name != new.name:
        return _renamed_words(old, new)
    return f"`{new.name}` changed{_line_words(new)}"


def _renamed_words(old: Part, new: Part) -> str:
    return f"`{old.name}` → `{new.name}`{_line_words(new)}"


def _value_words(old: Part, new: Part) -> str:
    """Return both values, or "changed" if one of them may be a secret."""
    if old.covered or new.covered:
        return "changed"
    return f"{old.value} → {new.value}"


def _short_digest(image: Part) -> str:
    return image.value.removeprefix("sha256:")[:_DIGEST_DIGITS]


def _changed_file_words(old: Part, new: Part) -> str:
    """Name what changed: the mode, the number of lines, the target of a link, or only the content."""
    name = f"`{new.name}`"
    if old.value == new.value and old.mode is not None and new.mode is not None:
        return f"mode of {new.name} {old.mode:o} → {new.mode:o}"
    more_lines = _count_more_lines(old, new)
    if more_lines:
        noun = "line" if abs(more_lines) == 1 else "lines"
        return f"{name} {more_lines:+} {noun}"
    if new.value.startswith(_LINK):
        target = new.value.removeprefix(_LINK)
        return f"{name} now points at `{target}`"
    return f"{name} changed"


def _count_more_lines(old: Part, new: Part) -> int:
    """Return how many lines a file has more (or less, below 0); 0 if that is not known."""
    if old.lines is None or new.lines is None:
        return 0
    return new.lines - old.lines


def _line_words(part: Part) -> str:
    return f" (line {part.line})" if part.line else ""
