"""Hold a Dockerfile as text and as stages, with what is known of the build context; write lines that fit in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.doctor.fixes.edit import Replacement
from stagebake.doctor.proof.stage_state import StagePlace, StageState, list_places

_KEYWORD = re.compile(r"[ \t]*\w+")
_COMMENT = re.compile(r"[ \t]*#")
# Parser directives count only at the top (moby/buildkit, parser/directives.go)
_DIRECTIVE = re.compile(r"#\s*(?:syntax|escape|check)\s*=", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Document:
    """Dockerfile with the files of its build context; `find_mode` tells the mode of one of them, None if unknown."""

    text: str
    graph: StageGraph
    files: frozenset[str] = frozenset()
    find_mode: Callable[[str], int | None] = lambda _path: None

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Return the lines without their ends."""
        return tuple(line.removesuffix("\r") for line in self.text.split("\n"))

    def list_places(self, stage: Stage) -> tuple[StagePlace, ...]:
        """Return the instructions of a stage with the state before each."""
        return list_places(self.graph, stage)

    def find_lines(self, instruction: Instruction) -> tuple[str, ...]:
        """Return the lines of an instruction as written."""
        return self.lines[instruction.line - 1 : instruction.end_line]

    def find_comment(self, instruction: Instruction) -> tuple[str, ...]:
        """Return the comment lines directly above an instruction."""
        first = instruction.line - 1
        while first > 0 and _COMMENT.match(self.lines[first - 1]) and not _DIRECTIVE.match(self.lines[first - 1]):
            first -= 1
        return self.lines[first : instruction.line - 1]

    def insert_above(self, instruction: Instruction, lines: tuple[str, ...]) -> Replacement:
        """Return the addition of lines above an instruction and its comment."""
        first = instruction.line - len(self.find_comment(instruction))
        return Replacement(first, first - 1, lines)

    def insert_below(self, instruction: Instruction, lines: tuple[str, ...]) -> Replacement:
        """Return the addition of lines below an instruction."""
        return Replacement(instruction.end_line + 1, instruction.end_line, lines)

    def remove(self, instruction: Instruction) -> Replacement:
        """Return the removal of an instruction with its comment, and of a blank line that would then be doubled."""
        first = instruction.line - len(self.find_comment(instruction))
        last = instruction.end_line
        is_blank_above = first == 1 or not self.lines[first - 2].strip()
        if is_blank_above and last < len(self.lines) and not self.lines[last].strip():
            last += 1
        return Replacement(first, last, ())

    def replace_lines(self, instruction: Instruction, lines: tuple[str, ...]) -> Replacement:
        """Return the replacement of an instruction by lines."""
        return Replacement(instruction.line, instruction.end_line, lines)

    def set_flag(
        self,
        lines: tuple[str, ...],
        instruction: Instruction,
        name: str,
        value: str | None,
    ) -> tuple[str, ...]:
        """Return the lines of an instruction with a flag changed or added; the value None is a switch."""
        flag = f"--{name}" if value is None else f"--{name}={value}"
        old = next((each for each in instruction.flags if each.partition("=")[0] == f"--{name}"), None)
        text = "\n".join(lines)
        if old is not None:
            return tuple(text.replace(old, flag, 1).split("\n"))
        return tuple(_KEYWORD.sub(lambda found: f"{found[0]} {flag}", text, count=1).split("\n"))

    def mentions_below(self, stage: Stage, path: str) -> bool:
        """Return whether an instruction of a stage names something below a path, or works in it: it is a folder."""
        for place in self.list_places(stage):
            if place.keyword == "WORKDIR" and _is_same_or_below(place, path):
                return True
            if f"{path}/" in expand_text(place.instruction.full_text, place.state):
                return True
        return False


def expand_text(text: str, state: StageState) -> str:
    """Return text with the variables that have known values expanded."""
    return re.sub(
        r"\$(?:(\w+)|\{(\w+)\})",
        lambda found: state.variables.get(found[1] or found[2], found[0]),
        text,
    )


def _is_same_or_below(place: StagePlace, path: str) -> bool:
    found = place.state.find_path(" ".join(place.instruction.args))
    return found is not None and (found == path or found.startswith(f"{path}/"))
