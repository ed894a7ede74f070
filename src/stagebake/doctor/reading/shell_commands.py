"""Split what a RUN runs into simple commands, and write a RUN without some of them.

The grammar is that of POSIX (XCU 2.10), as far as lists of commands go: quotes, `$(...)`, comments and line breaks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction

_OPERATOR = re.compile(r"&&|\|\||\|&|;;|[;|&\n]")
# Words that begin, divide or end a compound command: a command among them may depend on the others
_CONTROL = frozenset({
    "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "{", "}", "(", ")",
    "function", "select", "[[", "!", "time", "coproc",
})  # fmt: skip
_CLOSING = frozenset({"fi", "done", "esac", "else", "elif", "}", ")", "then", "do"})
_SEQUENCE = ("", "&&", ";", "\n")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_HEREDOC = re.compile(r"<<-?\s*[\"']?(\w+)[\"']?")
# Commands that install tools and packages or prepare folders; what they make does not depend on other variables
_ONLY_INSTALLS = re.compile(
    r"$|(?:\S*/)?(?:apk|apt|apt-get|dnf|yum|microdnf|mkdir|useradd|adduser|groupadd|addgroup|usermod|curl|wget|tar|unzip|rm"
    r"|mv|cp|ln|chmod|chown|touch|echo|printf|cd|set|install|sed|cat|test|\[|export|update-ca-certificates|locale-gen"
    r"|corepack|rustup|gpg|sha256sum|git clone|gem install|npm (?:ci|i|install)|yarn install|pnpm (?:i|install|fetch)"
    r"|bun install|pip3? install|uv (?:sync|pip install)|go (?:mod download|install \S+@)|cargo (?:install|chef cook)"
    r"|bundle install|composer install|mix (?:deps\.get|local\.\w+))(?:\s|$)"
)
# Commands that run the command after them
_PREFIXES = frozenset({
    "sudo", "exec", "command", "env", "time", "nice", "if", "then", "elif", "else", "while", "do", "!", "{", "(",
})  # fmt: skip


@dataclass(frozen=True)
class ShellCommand:
    """Simple command: its words without quotes, its text, where it is in the whole, and the operator before it."""

    words: tuple[str, ...]
    text: str
    start: int
    end: int
    operator: str = ""

    @property
    def program(self) -> str:
        """Return the name of the program without its folder; "" where there is only an assignment."""
        return self.arguments[0].rpartition("/")[2] if self.arguments else ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the words from the program on, without assignments and without sudo, env and similar."""
        words = list(self.words)
        while words and (_ASSIGNMENT.match(words[0]) or words[0] in _PREFIXES):
            words.pop(0)
        if words and words[0].startswith("("):
            words[0] = words[0].lstrip("(")
        return tuple(words)

    @property
    def operands(self) -> tuple[str, ...]:
        """Return the arguments that are not options."""
        return tuple(word for word in self.arguments[1:] if not word.startswith("-"))


def read_commands(instruction: Instruction) -> tuple[ShellCommand, ...]:
    """Return the simple commands of a RUN; of its JSON form the one that the array holds."""
    if instruction.json:
        text = instruction.command
        return (ShellCommand(instruction.args, text, 0, len(text)),)
    return split_commands(read_script(instruction))


def only_installs(instruction: Instruction) -> bool:
    """Return whether a RUN only installs tools and prepares folders: no compiler, no script, no build of code."""
    return all(_ONLY_INSTALLS.match(" ".join(command.arguments)) for command in read_commands(instruction))


def read_script(instruction: Instruction) -> str:
    """Return the shell text of a RUN: the content of its heredoc where the shell reads that, else its line."""
    if runs_heredoc(instruction):
        return instruction.heredocs[0]
    return instruction.command


def runs_heredoc(instruction: Instruction) -> bool:
    """Return whether a RUN is nothing but a heredoc that the shell runs, without another interpreter (`#!`)."""
    if len(instruction.heredocs) != 1 or instruction.heredocs[0].startswith("#!"):
        return False
    line = instruction.command.partition("\n")[0]
    return _HEREDOC.fullmatch(line.strip()) is not None


def split_commands(script: str) -> tuple[ShellCommand, ...]:
    """Return the simple commands of a script in their order."""
    commands = []
    operator = ""
    for start, end, following in _find_parts(script):
        text = script[start:end]
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            first = start + text.index(stripped)
            command = ShellCommand(_split_words(stripped), stripped, first, first + len(stripped), operator)
            commands.append(command)
            operator = following
        elif following != "\n":
            operator = following
    return tuple(commands)


def is_plain_list(script: str) -> bool:
    """Return whether a script is a list of commands, each of which runs if those before it succeed.

    Only then a command can be taken out: no alternatives, pipes, loops, functions or conditions.
    """
    commands = split_commands(script)
    for command in commands:
        if command.operator not in _SEQUENCE or command.words[0] in _CONTROL:
            return False
    return "`" not in script and not _HEREDOC.search(script) and not re.search(r"(?:^|[\s;&])[({]\s", script)


def rewrite_commands(script: str, texts: Mapping[int, str]) -> str:
    """Return a sequence with other texts for the commands at these positions; "" takes one and its operator out."""
    commands = split_commands(script)
    parts: list[str] = []
    end = 0
    for command in commands:
        text = texts.get(command.start, command.text)
        if text and parts:
            parts.append(_join_operator(script[end : command.start], command.operator))
        if text:
            parts.append(text)
            end = command.end
    last = commands[-1] if commands else None
    tail = script[last.end :] if last and texts.get(last.start) != "" else ""
    return "".join(parts) + tail


def splits_safely(commands: tuple[ShellCommand, ...], number: int) -> bool:
    """Return whether a command is one of a sequence, so that the others run the same without it."""
    command = commands[number]
    following = commands[number + 1] if number + 1 < len(commands) else None
    if command.operator not in _SEQUENCE or command.words[0] in _CONTROL:
        return False
    if number and commands[number - 1].words[-1] in _CONTROL:
        return False
    return following is None or (following.operator in _SEQUENCE and following.words[0] not in _CLOSING)


def _join_operator(between: str, operator: str) -> str:
    """Return what was written between two commands, or the operator alone where that held a removed command."""
    if between.strip() in ("", operator):
        return between
    return "\n" if operator == "\n" else f"{operator} " if operator == ";" else f" {operator} "


def _split_words(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a quote that ends elsewhere, as in $(...)
        words = text.split()
    return tuple(words) or (text,)


def _find_parts(script: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and following operator of each part between operators that are not quoted."""
    start = position = 0
    while position < len(script):
        skipped = _skip_quoted(script, position)
        if skipped > position:
            position = skipped
            continue
        operator = _OPERATOR.match(script, position)
        if operator and not _is_redirection(script, position):
            yield start, position, operator[0]
            start = position = operator.end()
        else:
            position += 1
    yield start, len(script), ""


def _is_redirection(script: str, position: int) -> bool:
    """Return whether the `&` or `|` here belongs to `2>&1`, `&>file` or `>|file`."""
    before = script[position - 1 : position]
    after = script[position + 1 : position + 2]
    return script[position] in "&|" and (before == ">" or (script[position] == "&" and after == ">"))


def _skip_quoted(script: str, position: int) -> int:
    """Return the end of the quoted text, substitution, comment or escaped character that begins here."""
    character = script[position]
    if character == "\\":
        return position + 2
    if character in "'`":
        return _after(script, character, position + 1)
    if character == '"':
        return _skip_double_quoted(script, position + 1)
    if script.startswith(("$(", "${"), position):
        return _skip_nested(script, position + 2, ")" if script[position + 1] == "(" else "}")
    if character == "#" and (position == 0 or script[position - 1].isspace()):
        end = script.find("\n", position)
        return len(script) if end < 0 else end
    return position


def _skip_double_quoted(script: str, position: int) -> int:
    while position < len(script) and script[position] != '"':
        if script[position] == "\\":
            position += 2
        elif script.startswith("$(", position):
            position = _skip_nested(script, position + 2, ")")
        else:
            position += 1
    return position + 1


def _skip_nested(script: str, position: int, closing: str) -> int:
    while position < len(script) and script[position] != closing:
        skipped = _skip_quoted(script, position)
        position = max(skipped, position + 1)
    return position + 1


def _after(script: str, closing: str, position: int) -> int:
    end = script.find(closing, position)
    return len(script) if end < 0 else end + 1


def write_run(instruction: Instruction, script: str, *, add_flags: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the lines of a RUN with another script and with flags added; a heredoc stays one."""
    added = tuple(add_flags)
    flags = (*added, *instruction.flags)
    if runs_heredoc(instruction):
        opening = instruction.command.partition("\n")[0].strip()
        body = script.rstrip("\n").split("\n")
        return (" ".join(("RUN", *flags, opening)), *body, instruction.heredoc_names[0])
    command = squeeze_spaces(script.strip())
    if not added:
        return (" ".join(("RUN", *flags, command)),)
    first, *more = flags
    return (f"RUN {first} \\", *(f"    {flag} \\" for flag in more), f"    {command}")


def squeeze_spaces(script: str) -> str:
    """Return a script with one space for several, outside of quotes."""
    parts: list[str] = []
    position = 0
    while position < len(script):
        end = max(_skip_quoted(script, position), position + 1)
        part = script[position:end]
        if part not in (" ", "\t") or not parts or parts[-1] != " ":
            parts.append(" " if part == "\t" else part)
        position = end
    return "".join(parts)
