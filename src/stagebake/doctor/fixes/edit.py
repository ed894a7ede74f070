"""Describe a change of a Dockerfile, and apply it to the text: every other line stays as it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Replacement:
    """New lines for the lines `first` to `last`, counted from 1; `last` is `first - 1` where lines are only added."""

    first: int
    last: int
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Change of a Dockerfile that removes what a finding is about.

    `rules` are those whose finding in line `line` it is for, `title` says in one sentence what the edit does. `changes`
    says what is different in the image that is built after it; an edit that makes the same image is safe and has none.
    """

    rules: tuple[str, ...]
    line: int
    title: str
    replacements: tuple[Replacement, ...]
    changes: str = ""

    @property
    def is_safe(self) -> bool:
        """Return whether the image has the same files, modes, owners, links and configuration after the edit."""
        return not self.changes

    def is_for(self, rule: str, lines: Collection[int]) -> bool:
        """Return whether the edit removes the problem that a rule has found in one of these lines."""
        touched = {self.line, *(number for part in self.replacements for number in (part.first, part.last))}
        return rule in self.rules and not touched.isdisjoint(lines)


def describe_fix(edit: Edit) -> str:
    """Return the flags that apply an edit, what it does, and what is different in the image after it."""
    if edit.is_safe:
        return f"--fix: {edit.title}"
    return f"--fix --unsafe-fixes: {edit.title} (changes the image: {edit.changes})"


def edit_record(edit: Edit) -> dict[str, object]:
    """Return an edit for JSON: `lines` replace those from `first` to `last`, and are added where `last` is less."""
    parts = [{"first": part.first, "last": part.last, "lines": list(part.lines)} for part in edit.replacements]
    return {"safe": edit.is_safe, "title": edit.title, "changes": edit.changes, "replacements": parts}


def apply_edit(text: str, edit: Edit) -> str:
    """Return the text after an edit. Added lines get the line end of the first line."""
    lines = text.split("\n")
    line_end = "\r" if lines[0].endswith("\r") else ""
    for part in sorted(edit.replacements, key=lambda part: (part.first, part.last), reverse=True):
        lines[part.first - 1 : part.last] = [f"{line}{line_end}" for line in part.lines]
    return "\n".join(lines)
