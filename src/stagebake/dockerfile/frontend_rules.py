"""Refuse the instructions that BuildKit refuses before it runs a step.

Sources: moby/buildkit, frontend/dockerfile/instructions/parse.go, and distribution/reference for image names. Flags are
not checked, because a newer frontend (`# syntax=`) knows more of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.variables import expand_heredoc, expand_word
from stagebake.errors import InputError

# moby/buildkit, instructions/parse.go: fewest arguments, and most where there is a limit
_ARGUMENT_COUNTS: dict[str, tuple[int, int | None]] = {
    "ADD": (2, None),
    "ARG": (1, None),
    "COPY": (2, None),
    "ENV": (1, None),
    "EXPOSE": (1, None),
    "HEALTHCHECK": (1, None),
    "LABEL": (1, None),
    "MAINTAINER": (1, 1),
    "SHELL": (1, None),
    "STOPSIGNAL": (1, 1),
    "USER": (1, 1),
    "VOLUME": (1, None),
    "WORKDIR": (1, 1),
}
_REFUSED_TRIGGERS = ("FROM", "MAINTAINER", "ONBUILD")
# moby/buildkit, instructions/commands.go: instructions whose words BuildKit expands
_EXPANDED = frozenset({"ADD", "ARG", "COPY", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"})
_EXPANDED_FLAGS = ("checksum", "chmod", "chown")

# distribution/reference, regexp.go and normalize.go
_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH_PART}(?:/{_PATH_PART})*)(?::\w[\w.-]{{0,127}})?(?:@(?P<digest>.+))?",
    re.ASCII,
)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
_VARIABLE = re.compile(r"\$\{?(\w+)")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_MAX_PATH = 255
# containerd/platforms, platforms.go: os[/architecture[/variant]]
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]+(?:\([A-Za-z0-9_.%-]*\))?(?:/[A-Za-z0-9_.-]+){0,2}")


class _AnyVariables(dict[str, str]):
    """Variables of which each one is set."""

    def get(self, name: str, default: object = None) -> str:
        return "x"


def check_arguments(instruction: Instruction, path: str) -> None:
    """Raise InputError with `path:line:` for an instruction whose arguments no frontend accepts."""
    for problem in _find_problems(instruction):
        raise InputError(
            f"{path}:{instruction.line}: {instruction.keyword} {problem}",
            f"correct the {instruction.keyword} line",
        )


def check_words(instruction: Instruction, path: str) -> None:
    """Raise InputError for a quote or a brace without its end, and for a `${...}` that BuildKit does not know.

    BuildKit finds these only in a stage that it builds. The values of variables play no role here.
    """
    variables = _AnyVariables()
    for word in _list_expanded_words(instruction):
        expand_word(word, variables, instruction, path)
    if instruction.keyword in ("ADD", "COPY"):
        for text, expands in zip(instruction.heredocs, instruction.expands, strict=True):
            if expands:
                expand_heredoc(text, variables, instruction, path)


def check_image_name(name: str, written: str, variables: Mapping[str, str], where: str) -> None:
    """Raise InputError that begins with `where` for a name that is not valid, as `golang:-alpine`.

    `written` is the name before its variables were expanded. BuildKit refuses it even in a stage that is not built.
    """
    if is_image_name(name):
        return
    unset = [variable for variable in _VARIABLE.findall(written) if not variables.get(variable)]
    hint = "write it in lower case as `name`, `name:tag` or `name@digest`"
    if unset:
        hint = f"give ARG {unset[0]} a default value before the first FROM, or set it under `args` in the settings"
    gives = "" if name == written else f" gives `{name}`, which"
    raise InputError(f"{where}: `{written}`{gives} is not a valid image name", hint)


def check_platform(start: Instruction, variables: Mapping[str, str], path: str) -> None:
    """Raise InputError for a FROM whose --platform is empty or has not the form system/architecture/variant."""
    written = start.flag_value("platform")
    if not written:
        return
    name = expand_word(written, variables, start, path)
    if not _PLATFORM.fullmatch(name):
        raise InputError(
            f"{path}:{start.line}: --platform={written} gives `{name}`, which is not a valid platform",
            "write it as `linux/amd64`, and give each ARG in it a value before the first FROM",
        )


def is_image_name(name: str) -> bool:
    """Return whether the name of an image is valid, as ParseNormalizedNamed of distribution/reference decides."""
    found = _REFERENCE.fullmatch(name)
    if found is None or _IDENTIFIER.fullmatch(name):
        return False
    digest = found["digest"]
    if digest is not None and not _DIGEST.fullmatch(digest):
        return False
    return len(found["path"]) <= _MAX_PATH


def _find_problems(instruction: Instruction) -> Iterator[str]:
    fewest, most = _ARGUMENT_COUNTS.get(instruction.keyword, (0, None))
    count = len([word for word in instruction.args if word]) if most == 1 else len(instruction.args)
    if count < fewest:
        yield f"requires {_describe_count(fewest, most)}"
    match instruction.keyword:
        case "ENV" | "LABEL" if not all(name for name, _ in instruction.assignments):
            yield "has a blank name"
        case "ARG" if not all(name for name, _ in instruction.declarations):
            yield "has a blank name"
        case "SHELL" if not instruction.json:
            yield "requires its arguments as a JSON array"
        case "VOLUME" if not all(word.strip() for word in instruction.args):
            yield "has an empty path"
        case "HEALTHCHECK" if instruction.args:
            yield from _find_health_problems(instruction.args)
        case "ONBUILD":
            yield from _find_trigger_problems(instruction)


def _describe_count(fewest: int, most: int | None) -> str:
    """Return a number of arguments in BuildKit's words."""
    if most == 1:
        return "exactly one argument"
    return "at least two arguments" if fewest == 2 else "at least one argument"


def _find_health_problems(args: tuple[str, ...]) -> Iterator[str]:
    kind, *command = args
    if kind.upper() == "NONE":
        if command:
            yield "NONE takes no arguments"
    elif kind.upper() != "CMD":
        yield f"has the unknown type `{kind}`; BuildKit knows CMD and NONE"
    elif not command:
        yield "CMD requires a command"


def _find_trigger_problems(instruction: Instruction) -> Iterator[str]:
    _, *words = instruction.text.split(None, 2)
    if not words:
        yield f"requires {_describe_count(1, None)}"
    elif words[0].upper() in _REFUSED_TRIGGERS:
        yield f"cannot contain {words[0].upper()}"


def _list_expanded_words(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword == "RUN":
        for mount in instruction.mounts:
            yield from mount.values()
    if instruction.keyword not in _EXPANDED:
        return
    for flag in _EXPANDED_FLAGS:
        yield from instruction.flag_values(flag)
    for word in instruction.args:
        is_heredoc = instruction.heredocs and "<<" in word
        if not is_heredoc:
            yield word
