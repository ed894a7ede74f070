"""Dockerfile text to instructions, and the two small languages within: variables in words, and ignore patterns.

This is the one module that knows the parser behind it, a port of BuildKit's frontend/dockerfile/parser and
frontend/dockerfile/shell and of moby/patternmatcher.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from e2b_dockerfile_utils import DockerfileInstruction as ParsedInstruction
from e2b_dockerfile_utils import DockerfileSyntaxError, PatternMatcher, ShellLex, parse_dockerfile_ast

from stagebake.errors import InputError

Check = tuple[int, bool, Callable[[str], bool] | None]

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


def instructions(text: str, path: str) -> tuple[Instruction, ...]:
    """All instructions of a Dockerfile. Raises InputError with `path:line:`."""
    try:
        parsed = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).split(": ", 1)[-1]
        raise InputError(f"{path}:{error.line or 1}: {message}", "correct the Dockerfile") from None
    return tuple(_instruction(node, parsed.escape_token) for node in parsed.instructions)


def frontend(text: str) -> str | None:
    """What a `# syntax=` line asks for; such lines stand before all others (parser/directives.go)."""
    for line in text.removeprefix("\ufeff").splitlines():
        found = _DIRECTIVE.match(line.strip())
        if found is None:
            return None
        if found["key"].lower() == "syntax":
            return found["value"]
    return None


def trigger(instruction: Instruction, path: str) -> tuple[Instruction, ...]:
    """The instruction that an ONBUILD carries, at the ONBUILD's line."""
    rest = instruction.text.split(None, 1)[1:]
    return tuple(replace(found, line=instruction.line) for found in instructions("".join(rest), path))


def expand(word: str, variables: Mapping[str, str], *, escape: str, keep_unset: bool) -> str:
    """A word with its variables replaced and its quotes removed. Raises ValueError for what BuildKit refuses.

    A variable that is not set is empty, or stays as it is written where `keep_unset`.
    """
    return ShellLex(escape, env=variables, skip_unset_env=keep_unset).process_word(word)


def expand_text(text: str, variables: Mapping[str, str], *, keep_unset: bool) -> str:
    """What a heredoc says, with its variables replaced; its quotes stay, and its escape is always the backslash."""
    return ShellLex("\\", env=variables, skip_unset_env=keep_unset, skip_process_quotes=True).process_word(text)


class Patterns(PatternMatcher):
    """Ignore patterns; the last one that matches a path, or a folder that it is in, decides.

    `matches` asks for all the folders above a path each time. A walk that comes from there asks its `top` level, and
    the levels below: many times faster (moby/patternmatcher has MatchesUsingParentResults for it).
    """

    @property
    def top(self) -> Level:
        return Level(self, "", (False,) * len(self._patterns))

    def checks(self, folder: str, above: tuple[bool, ...]) -> Iterator[Check]:
        """The patterns that can match something right in a folder, those that match the folder itself among them."""
        parts = folder.split("/") if folder else []
        for number, (pattern, hit) in enumerate(zip(self._patterns, above, strict=True)):
            if hit or _can_match(pattern.dirs, parts):
                yield number, pattern.exclusion, None if hit else pattern.match


class Level:
    """What ignore patterns say of the entries of one folder."""

    def __init__(self, patterns: Patterns, folder: str, above: tuple[bool, ...]) -> None:
        self._patterns = patterns
        self._none = (False,) * len(above)
        self._checks = tuple(patterns.checks(folder, above))

    def ignores(self, path: str) -> bool:
        ignored = False
        for _, exclusion, match in self._checks:
            if match is None or (exclusion == ignored and match(path)):
                ignored = not exclusion
        return ignored

    def enter(self, path: str) -> Level:
        """The level of a folder in this one."""
        ignored = False
        hits = list(self._none)
        for number, exclusion, match in self._checks:
            if match is None or (exclusion == ignored and match(path)):
                ignored, hits[number] = not exclusion, True
        return Level(self._patterns, path, tuple(hits))


def _can_match(pattern: list[str], folder: list[str]) -> bool:
    """Whether a pattern, by its components, can match something right in a folder; in doubt it can."""
    if any(sign in part for part in pattern for sign in ("**", "[", "\\")):
        return True
    literal = not pattern or "*" in pattern[0] or "?" in pattern[0] or not folder or pattern[0] == folder[0]
    return len(pattern) == len(folder) + 1 and literal


def patterns(lines: Iterable[str]) -> Patterns:
    """Ignore patterns, as those of a `.dockerignore`. Raises ValueError for a pattern that BuildKit refuses."""
    return Patterns(list(lines))


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
