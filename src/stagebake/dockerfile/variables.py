"""ARG and ENV as BuildKit's frontend reads them (moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go). Pure.

An ARG's value is the build argument of that name, else its default, else that of the ARG before the first FROM, else
what the platform predefines; it is in the environment of every later RUN, whether used or not. Predefined proxies that
no ARG declares are in no cache key, so they are nowhere here.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from stagebake.dockerfile.parser import Instruction, expand_heredoc_text, expand_word_text
from stagebake.errors import InputError

# moby/buildkit, frontend/dockerfile/linter: the words of its check SecretsUsedInArgOrEnv
_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
# What BuildKit does not warn of, and yet is not written down
_PRIVATE = re.compile(r"(?:^|_)(?:pass|passphrase|pat|pwd)(?:_|$)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+:[^/@\s]+(?=@)|(?<=\bBearer )\S+")
_PUBLIC = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7"}
_ROUNDS = 100_000


def looks_secret(name: str) -> bool:
    """Whether a variable's name tells of a secret."""
    return bool(_SECRET.search(name)) and not _PUBLIC.search(name)


@cache
def hide_secret(name: str, value: str) -> str:
    """The value; of a variable that holds a secret a digest, slow to make so that guessing it does not pay."""
    if not value or not (looks_secret(name) or _PRIVATE.search(name) or _CREDENTIALS.search(value)):
        return value
    return f"secret-{hashlib.pbkdf2_hmac('sha256', value.encode(), name.encode(), _ROUNDS).hex()[:32]}"


def is_hidden(value: str) -> bool:
    """Whether a value is what `covered` makes of a secret."""
    return bool(re.fullmatch(r"secret-[0-9a-f]{32}", value))


def redact_credentials(text: str) -> str:
    """Text of an instruction without the credentials in it."""
    return _CREDENTIALS.sub("…", text)


def predefined_args(platforms: tuple[str, ...], target: str | None) -> dict[str, str]:
    """What every Dockerfile may declare without a value: BUILDPLATFORM, TARGETARCH and the like."""
    machine = platform.machine()
    build = f"linux/{_ARCHITECTURES.get(machine, machine)}"
    variables = {"TARGETSTAGE": (target or "default").lower()}
    for prefix, value in (("BUILD", build), ("TARGET", platforms[0] if platforms else build)):
        system, _, rest = value.partition("/")
        architecture, _, variant = rest.partition("/")
        variables[f"{prefix}PLATFORM"] = value
        variables |= {f"{prefix}OS": system, f"{prefix}ARCH": architecture, f"{prefix}VARIANT": variant}
    return variables


def global_args(
    instructions: Iterable[Instruction], given: Mapping[str, str], variables: dict[str, str], path: str
) -> dict[str, str]:
    """What FROM lines see: the ARGs before the first FROM, over the predefined `variables`."""
    for instruction in instructions:
        if instruction.keyword == "FROM":
            break
        for name, value in declared_args(instruction, variables, variables, given, path):
            if value is not None:
                variables[name] = value
    return variables


def declared_args(
    instruction: Instruction,
    variables: Mapping[str, str],
    outer: Mapping[str, str],
    given: Mapping[str, str],
    path: str,
) -> Iterator[tuple[str, str | None]]:
    """Each name of an ARG with its value, None for one that has none: what is `given`, its default, the `outer` one."""
    for word in instruction.args:
        name, equals, default = word.partition("=")
        if name in given:
            yield name, given[name]
        elif equals:
            yield name, expand_word(default, variables, instruction, path)
        else:
            yield name, outer.get(name)


def expand_word(
    word: str, variables: Mapping[str, str], instruction: Instruction, path: str, *, keep_unset: bool = False
) -> str:
    """A word of an instruction with its variables replaced. Raises InputError with `path:line:`.

    A variable that is not set is empty, or stays as it is written where `keep_unset`.
    """
    try:
        return expand_word_text(word, variables, escape=instruction.escape, keep_unset=keep_unset)
    except ValueError as error:
        raise _refused(error, instruction, path) from None


def expand_heredoc(
    text: str, variables: Mapping[str, str], instruction: Instruction, path: str, *, keep_unset: bool = False
) -> str:
    """What a heredoc says, with its variables replaced. Raises InputError as `expand`."""
    try:
        return expand_heredoc_text(text, variables, keep_unset=keep_unset)
    except ValueError as error:
        raise _refused(error, instruction, path) from None


def _refused(error: ValueError, instruction: Instruction, path: str) -> InputError:
    return InputError(f"{path}:{instruction.line}: {error}", f"correct the {instruction.keyword} line")
