"""Apply the edits of doctor to the Dockerfile: show them, ask, and write the file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.prompt import Confirm

from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.edit import Edit, apply_edit
from stagebake.errors import InputError
from stagebake.files import compare_texts, write_file

ExamineText: TypeAlias = Callable[[str], tuple[Finding, ...]]
"""Examination of the text of a Dockerfile."""

# More edits than a Dockerfile has instructions: each edit removes a problem, so this is never reached
_MOST_EDITS = 1000


@dataclass(frozen=True, kw_only=True)
class FixChoice:
    """What to do with edits: also the unsafe ones, only print them, write without asking."""

    unsafe: bool = False
    only_print: bool = False
    agreed: bool = False


def fix_dockerfile(
    path: Path,
    text: str,
    examine: ExamineText,
    choice: FixChoice,
    console: Console,
    *,
    is_uncommitted: bool,
) -> None:
    """Apply the edits of the findings in the text of a Dockerfile, or print them. Raises InputError.

    `is_uncommitted` says that git has no commit of the file as it is.
    """
    fixed, edits = apply_edits(text, examine, unsafe=choice.unsafe)
    console.print(compare_texts(path.name, text, fixed), end="")
    for edit in edits:
        console.print(describe_edit(edit))
    if not choice.unsafe:
        for edit in _list_edits(fixed, examine):
            console.print(f"not done without --unsafe-fixes: {describe_edit(edit)}")
    if not edits:
        console.print(f"{path}: nothing to fix")
    elif not choice.only_print and _may_write(path, choice, console, is_uncommitted=is_uncommitted):
        write_file(path, fixed.encode("utf-8", "surrogateescape"))
        console.print(f"wrote {path}")


def apply_edits(text: str, examine: ExamineText, *, unsafe: bool) -> tuple[str, tuple[Edit, ...]]:
    """Return the text after all edits of its findings, one after the other, and these edits."""
    done: list[Edit] = []
    for _ in range(_MOST_EDITS):
        edit = next((edit for edit in _list_edits(text, examine) if edit.is_safe or unsafe), None)
        if edit is None:
            break
        text = apply_edit(text, edit)
        done.append(edit)
    return text, tuple(done)


def describe_edit(edit: Edit) -> str:
    """Return one line about an edit: the line of the Dockerfile before it, what it does, and what differs after it."""
    difference = f" (changes the image: {edit.changes})" if edit.changes else ""
    return f"line {edit.line}: {edit.title}{difference}"


def _list_edits(text: str, examine: ExamineText) -> tuple[Edit, ...]:
    """Return the edits of the findings, safe ones first, each once."""
    edits = dict.fromkeys(finding.edit for finding in examine(text) if finding.edit)
    return tuple(sorted(edits, key=lambda edit: not edit.is_safe))


def _may_write(path: Path, choice: FixChoice, console: Console, *, is_uncommitted: bool) -> bool:
    """Return whether the user agrees. Raises InputError where the user cannot be asked, but must be."""
    has_terminal = sys.stdin.isatty()
    if is_uncommitted and (choice.agreed or not has_terminal):
        raise InputError(
            f"{path}: git has no commit of this file as it is, so it is not overwritten",
            "commit the file, or run `stagebake doctor --fix` in a terminal, which asks",
        )
    if choice.agreed:
        return True
    if not has_terminal:
        raise InputError("--fix: there is no terminal to ask in", "add --yes, or print the changes with --diff")
    remark = " (git has no commit of it as it is)" if is_uncommitted else ""
    agrees = Confirm.ask(f"write {path}{remark}?", console=console, default=False)
    if not agrees:
        console.print(f"{path} is kept")
    return agrees
