"""Split the text of a RUN into its commands, and put chosen ones together again: line breaks and comments stay.

Commands are what `&&` joins. A RUN with another operator of the shell, such as `;` or `||`, or with a heredoc is not
split: there the success of one command decides about others in other ways.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction

_FLAG = r"--[a-z]+(?:=[^\s\"'\\]*)?"
_GAP = r"(?:(?<=\n)[ \t]*#[^\n]*\n|(?<=\n)[ \t]*\n|[ \t]|\\[ \t]*\n)"
_HEAD = re.compile(rf"[ \t]*RUN{_GAP}+(?:{_FLAG}{_GAP}+)*", re.IGNORECASE)
_JOINT = re.compile(rf"{_GAP}*&&{_GAP}*")
_GAP_AT_END = re.compile(rf"{_GAP}\Z")
_COMMENT_LINE = re.compile(r"(?<=\n)[ \t]*(?:#[^\n]*)?\n")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|\\.", re.DOTALL)
_REFUSED = re.compile(
    r"[;()`]|\|\||(?<![&>])&(?!&)|\$\(|<<|(?:^|\s)(?:if|for|while|until|case|function|\{|\}|!)(?=\s|$)"
)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class RunSource:
    """Text of a RUN: its head with the flags, its commands, and the text between each two of them."""

    head: str
    commands: tuple[str, ...]
    joints: tuple[str, ...]

    def keep_commands(self, numbers: Collection[int]) -> tuple[str, ...]:
        """Return the lines of a RUN with only some of the commands; the numbers count from 0."""
        text = ""
        for number, command in enumerate(self.commands):
            if number in numbers:
                text += (self.joints[number - 1] if text else self.head) + command
        return tuple(text.split("\n"))


def split_run(instruction: Instruction, lines: tuple[str, ...]) -> RunSource | None:
    """Return the parts of a RUN from the lines of the Dockerfile that it has; None where it cannot be split."""
    text = "\n".join(line.removesuffix("\r") for line in lines)
    head = _HEAD.match(text)
    if head is None or instruction.json or instruction.heredocs or instruction.escape != "\\":
        return None
    body = text[head.end() :]
    masked = _QUOTED.sub(_hide_operators, body)
    masked = _COMMENT_LINE.sub(lambda found: "\n".rjust(len(found[0])), masked)
    if _REFUSED.search(masked) or re.search(r"[\"']", masked):
        return None
    joints = [_widen_joint(body, found.start()) for found in re.finditer("&&", masked)]
    bounds = [0, *(bound for joint in joints for bound in joint), len(body)]
    commands = tuple(body[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True))
    between = tuple(body[start:end] for start, end in joints)
    if not all(command.strip() for command in commands):
        return None
    return RunSource(head[0], commands, between)


def split_words(command: str, variables: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the words of a command with the known variables expanded; None where the shell would do more to them."""
    text = _COMMENT_LINE.sub("", command)
    text = re.sub(r"\\[ \t]*\n", " ", text)
    if re.search(r"'[^']*\$|[<>|~\\]", text):
        return None
    expanded = _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)
    if "$" in expanded or "\n" in expanded:
        return None
    try:
        return tuple(shlex.split(expanded))
    except ValueError:
        return None


def _hide_operators(found: re.Match[str]) -> str:
    """Return as many characters without a meaning; the escaped line break of a continued line stays."""
    if found[0] == "\\\n":
        return found[0]
    return "_" * len(found[0])


def _widen_joint(body: str, place: int) -> tuple[int, int]:
    """Return the bounds of the text around `&&` that belongs to neither command."""
    start = place
    while gap := _GAP_AT_END.search(body[:start]):
        start = gap.start()
    found = _JOINT.match(body, start)
    return start, found.end() if found else place
