"""Parse a Dockerfile into instructions, and expand the variables in their words.

Only this module and `ignore_file` import the parser library, a port of BuildKit's frontend/dockerfile/parser and
frontend/dockerfile/shell and of moby/patternmatcher.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from e2b_dockerfile_utils import DockerfileInstruction as ParsedInstruction
from e2b_dockerfile_utils import DockerfileSyntaxError, ShellLex, parse_dockerfile_ast

from stagebake.errors import InputError

# moby/buildkit, parser/parser.go, heredocCompoundDirectives: the library does not know the heredoc of an ONBUILD
_ONBUILD_HEREDOC = re.compile(r"[ \t]*ONBUILD\s+(?=(?:ADD|COPY|RUN)\s.*<<)", re.IGNORECASE)
_DIRECTIVE = re.compile(r"^#\s*(?P<key>[a-zA-Z][a-zA-Z0-9]*)\s*=\s*(?P<value>.+?)\s*$")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """Instruction of a Dockerfile as written.

    `text` is the line with its continuations joined, `line` the number of its first line, `end_line` that of its last
    one, with continuations and heredocs. `json` says that the arguments are a JSON array. `heredocs` holds the text of
    each heredoc, `heredoc_names` the word that ends it, and `expands` whether BuildKit expands the variables in it.
    ENV and LABEL have three arguments for each variable: name, value, delimiter.
    """

    keyword: str
    text: str
    flags: tuple[str, ...]
    args: tuple[str, ...]
    json: bool
    heredocs: tuple[str, ...]
    expands: tuple[bool, ...]
    line: int
    end_line: int
    heredoc_names: tuple[str, ...] = ()
    escape: str = "\\"

    @property
    def full_text(self) -> str:
        """Return the line and, below it, the text of its heredocs."""
        return "\n".join((self.text, *self.heredocs))

    @property
    def command(self) -> str:
        """Return what a RUN runs: its line without RUN and without flags, and the text of its heredocs."""
        words = self.text.split(None, 1)[-1]
        while words.startswith("--"):
            words = words.partition(" ")[2].lstrip()
        return "\n".join((words, *self.heredocs))

    @property
    def assignments(self) -> tuple[tuple[str, str], ...]:
        """Return the names and values, as written, that an ENV or LABEL sets."""
        names = self.args[::3]
        values = self.args[1::3]
        return tuple(zip(names, values, strict=False))

    @property
    def declarations(self) -> tuple[tuple[str, str | None], ...]:
        """Return the names that an ARG declares, with their defaults as written; None for a name without default."""
        found: list[tuple[str, str | None]] = []
        for word in self.args:
            name, equals, default = word.partition("=")
            found.append((name, default if equals else None))
        return tuple(found)

    @property
    def mounts(self) -> tuple[dict[str, str], ...]:
        """Return the fields of each `--mount` of a RUN by key in lower case; a key without a value has ""."""
        return tuple(_parse_mount(value) for value in self.flag_values("mount"))

    def flag_value(self, name: str) -> str | None:
        """Return the value of `--name=value`; "" for a bare `--name`, None where the flag is absent."""
        return next(iter(self.flag_values(name)), None)

    def flag_values(self, name: str) -> tuple[str, ...]:
        """Return every value of a flag that may be repeated."""
        values = []
        for flag in self.flags:
            key, _, value = flag.removeprefix("--").partition("=")
            if key == name:
                values.append(value)
        return tuple(values)

    def has_switch(self, name: str) -> bool:
        """Return whether a flag is switched on: `--name` or `--name=true`."""
        return self.flag_value(name) not in (None, "false")


def parse_instructions(text: str, path: str) -> tuple[Instruction, ...]:
    """Return the instructions of a Dockerfile. Raises InputError with `path:line:`."""
    text, onbuild_lines = _take_out_onbuild(text)
    try:
        parsed = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).split(": ", 1)[-1]
        raise InputError(f"{path}:{error.line or 1}: {message}", "correct the Dockerfile") from None
    instructions = []
    for node in parsed.instructions:
        instruction = _convert_instruction(node, parsed.escape_token)
        if instruction.line in onbuild_lines:
            text = f"ONBUILD {instruction.text.lstrip()}"
            instruction = replace(instruction, keyword="ONBUILD", text=text, flags=(), args=())
        instructions.append(instruction)
    return tuple(instructions)


def syntax_image(text: str) -> str | None:
    """Return the frontend image of the `# syntax=` line, which comes before all other lines (parser/directives.go)."""
    for line in text.removeprefix("\ufeff").split("\n"):
        found = _DIRECTIVE.match(line.strip())
        if found is None:
            return None
        if found["key"].lower() == "syntax":
            return found["value"]
    return None


def onbuild_instructions(instruction: Instruction, path: str) -> tuple[Instruction, ...]:
    """Return the instruction that an ONBUILD contains, with the line of the ONBUILD. Raises InputError."""
    lines = instruction.text.split(None, 1)[1:]
    for content, name in zip(instruction.heredocs, instruction.heredoc_names, strict=True):
        lines.append(f"{content}{name}")
    try:
        parsed = parse_instructions("\n".join(lines), path)
    except InputError as error:
        problem = error.problem.split(": ", 1)[-1]
        raise InputError(f"{path}:{instruction.line}: ONBUILD: {problem}", error.hint) from None
    return tuple(replace(found, line=instruction.line, end_line=instruction.end_line) for found in parsed)


def expand_word_text(word: str, variables: Mapping[str, str], *, escape: str, keep_unset: bool) -> str:
    """Return a word with its variables expanded and its quotes removed. Raises ValueError where BuildKit does.

    A variable that is not set expands to nothing, or stays as written with `keep_unset`.
    """
    shell = ShellLex(escape, env=variables, skip_unset_env=keep_unset)
    return shell.process_word(word)


def expand_heredoc_text(text: str, variables: Mapping[str, str], *, keep_unset: bool) -> str:
    """Return the text of a heredoc with its variables expanded; quotes stay, and `\\` is always the escape character.

    Raises ValueError where BuildKit does.
    """
    shell = ShellLex("\\", env=variables, skip_unset_env=keep_unset, skip_process_quotes=True)
    return shell.process_word(text)


def _take_out_onbuild(text: str) -> tuple[str, frozenset[int]]:
    """Remove the word ONBUILD before an instruction with a heredoc; return the text and the numbers of these lines."""
    lines = text.split("\n")
    found = set()
    for number, line in enumerate(lines, start=1):
        word = _ONBUILD_HEREDOC.match(line)
        if word and _begins_instruction(lines[: number - 1]):
            lines[number - 1] = line[word.end() :]
            found.add(number)
    return "\n".join(lines), frozenset(found)


def _begins_instruction(lines_above: list[str]) -> bool:
    """Return whether an instruction begins below these lines, rather than a part of a heredoc or a continued line."""
    probe = "\n".join([*lines_above, "WORKDIR /"])
    try:
        parsed = parse_dockerfile_ast(probe)
    except DockerfileSyntaxError:
        return False
    return parsed.instructions[-1].start_line == len(lines_above) + 1


def _convert_instruction(node: ParsedInstruction, escape: str) -> Instruction:
    return Instruction(
        keyword=node.name,
        text=node.original,
        flags=tuple(node.flags),
        args=tuple(node.args),
        json=node.json,
        heredocs=tuple(heredoc.content for heredoc in node.heredocs),
        heredoc_names=tuple(heredoc.name for heredoc in node.heredocs),
        expands=tuple(heredoc.expand for heredoc in node.heredocs),
        line=node.start_line,
        end_line=node.end_line,
        escape=escape,
    )


def _parse_mount(value: str) -> dict[str, str]:
    """Return the comma-separated fields of a mount (moby/buildkit, instructions/commands_runmount.go)."""
    fields = {}
    for part in value.split(","):
        key, _, content = part.partition("=")
        fields[key.lower()] = content
    return fields
