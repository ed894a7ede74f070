"""Split the instructions of a Dockerfile into stages, and name each stage.

Stage names are case-insensitive (moby/buildkit, frontend/dockerfile/instructions/parse.go). Of several stages with one
name, `--target` and `COPY --from` find the last, and FROM finds the last one above it (dockerfile2llb/convert.go,
addState).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction
from stagebake.errors import InputError

# BuildKit's instructions/parse.go, validStageName
_STAGE_NAME = re.compile(r"^[a-z][a-z0-9-_.]*$")


@dataclass(frozen=True)
class StageDraft:
    """Instructions of one stage, before its references are resolved.

    `written_name` is the name in its FROM line, None where it has none. `target` is the same name where it finds this
    stage, None where a later stage has it too. `name` is unique in the Dockerfile.
    """

    name: str
    index: int
    target: str | None
    written_name: str | None
    instructions: tuple[Instruction, ...]

    @property
    def line(self) -> int:
        return self.instructions[0].line


def split_stages(instructions: tuple[Instruction, ...], path: str) -> tuple[StageDraft, ...]:
    """Return the stages of a Dockerfile in its order. Raises InputError with `path:line:`."""
    groups = _split_at_from(instructions, path)
    written_names = [_read_stage_name(group[0], path) for group in groups]
    last_uses: dict[str, int] = {}
    for index, written in enumerate(written_names):
        if written:
            last_uses[written.lower()] = index
    drafts = []
    for index, group in enumerate(groups):
        written = written_names[index]
        if written and last_uses[written.lower()] == index:
            draft = StageDraft(written.lower(), index, written, written, group)
        else:
            name = _make_free_name(index, last_uses)
            draft = StageDraft(name, index, None, written, group)
        drafts.append(draft)
    return tuple(drafts)


def _split_at_from(instructions: tuple[Instruction, ...], path: str) -> list[tuple[Instruction, ...]]:
    groups: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            groups.append([instruction])
        elif groups:
            groups[-1].append(instruction)
        elif instruction.keyword != "ARG":
            raise InputError(
                f"{path}:{instruction.line}: {instruction.keyword} before the first FROM",
                f"move {instruction.keyword} below a FROM line; only ARG may come before the first FROM",
            )
    if not groups:
        raise InputError(f"{path}:1: no FROM instruction", "add a FROM line: a Dockerfile needs at least one stage")
    return [tuple(group) for group in groups]


def _read_stage_name(instruction: Instruction, path: str) -> str | None:
    match instruction.args:
        case (_,):
            return None
        case (_, keyword, name) if keyword.lower() == "as":
            if not _STAGE_NAME.match(name.lower()):
                raise InputError(
                    f"{path}:{instruction.line}: `{name}` is not a valid stage name",
                    "start it with a letter, and use letters, digits, `-`, `_` and `.`",
                )
            return name
    raise InputError(f"{path}:{instruction.line}: FROM takes one or three arguments", "write `FROM image [AS name]`")


def _make_free_name(index: int, taken: Collection[str]) -> str:
    name = f"stage-{index}"
    while name in taken:
        name += "-unnamed"
    return name
