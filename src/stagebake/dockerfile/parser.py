"""Dockerfile text to instructions, and the two small languages within: variables in words, and ignore patterns.

This is the one module that knows the parser behind it, a port of BuildKit's frontend/dockerfile/parser and
frontend/dockerfile/shell and of moby/patternmatcher.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from e2b_dockerfile_utils import DockerfileInstruction as ParsedInstruction
from e2b_dockerfile_utils import DockerfileSyntaxError, ShellLex, parse_dockerfile_ast

from stagebake.errors import InputError

_DIRECTIVE = re.compile(r"^#\s*(?P<key>[a-zA-Z][a-zA-Z0-9]*)\s*=\s*(?P<value>.+?)\s*$")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction as written; `text` is the line with its continuations joined, `line` where it starts.

    `json` says that the arguments were a JSON array, `heredocs` holds what each heredoc says, and `expands` whether
    variables in that heredoc are replaced. ENV and LABEL have three arguments a variable: name, value, delimiter.
    """

    keyword: str
    text: str
    flags: tuple[str, ...]
    args: tuple[str, ...]
    json: bool
    heredocs: tuple[str, ...]
    expands: tuple[bool, ...]
    line: int
    escape: str = "\\"

    def flag(self, name: str) -> str | None:
        """Value of `--name=value`; "" for a bare `--name`, None where the flag is absent."""
        return next(iter(self.flag_values(name)), None)

    def flag_values(self, name: str) -> tuple[str, ...]:
        """The values of a flag that may stand several times."""
        pairs = (flag.removeprefix("--").partition("=") for flag in self.flags)
        return tuple(value for key, _, value in pairs if key == name)

    @property
    def mounts(self) -> tuple[dict[str, str], ...]:
        """What each `--mount` of a RUN says, keys in lower case; a key without a value has "".

        The values are comma-separated fields (moby/buildkit, instructions/commands_runmount.go).
        """
        fields = ([part.partition("=")[::2] for part in value.split(",")] for value in self.flag_values("mount"))
        return tuple({key.lower(): value for key, value in pairs} for pairs in fields)


def parse_instructions(text: str, path: str) -> tuple[Instruction, ...]:
    """All instructions of a Dockerfile. Raises InputError with `path:line:`."""
    try:
        parsed = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).split(": ", 1)[-1]
        raise InputError(f"{path}:{error.line or 1}: {message}", "correct the Dockerfile") from None
    return tuple(_instruction(node, parsed.escape_token) for node in parsed.instructions)


def syntax_image(text: str) -> str | None:
    """What a `# syntax=` line asks for; such lines stand before all others (parser/directives.go)."""
    for line in text.removeprefix("\ufeff").splitlines():
        found = _DIRECTIVE.match(line.strip())
        if found is None:
            return None
        if found["key"].lower() == "syntax":
            return found["value"]
    return None


def onbuild_instructions(instruction: Instruction, path: str) -> tuple[Instruction, ...]:
    """The instruction that an ONBUILD carries, at the ONBUILD's line."""
    rest = instruction.text.split(None, 1)[1:]
    return tuple(replace(found, line=instruction.line) for found in parse_instructions("".join(rest), path))


def expand_word_text(word: str, variables: Mapping[str, str], *, escape: str, keep_unset: bool) -> str:
    """A word with its variables replaced and its quotes removed. Raises ValueError for what BuildKit refuses.

    A variable that is not set is empty, or stays as it is written where `keep_unset`.
    """
    return ShellLex(escape, env=variables, skip_unset_env=keep_unset).process_word(word)


def expand_heredoc_text(text: str, variables: Mapping[str, str], *, keep_unset: bool) -> str:
    """What a heredoc says, with its variables replaced; its quotes stay, and its escape is always the backslash."""
    return ShellLex("\\", env=variables, skip_unset_env=keep_unset, skip_process_quotes=True).process_word(text)


def _instruction(node: ParsedInstruction, escape: str) -> Instruction:
    return Instruction(
        keyword=node.name,
        text=node.original,
        flags=tuple(node.flags),
        args=tuple(node.args),
        json=node.json,
        heredocs=tuple(heredoc.content for heredoc in node.heredocs),
        expands=tuple(heredoc.expand for heredoc in node.heredocs),
        line=node.start_line,
        escape=escape,
    )
