"""Read ARG and ENV as BuildKit's frontend does (moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go).

The value of an ARG is the build argument of that name, else its default, else the value of the ARG before the first
FROM, else the predefined value. It is in the environment of every later RUN, used or not. Predefined proxy arguments
that no ARG declares are not part of a cache key, so this module leaves them out.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from stagebake.dockerfile.parser import Instruction, expand_heredoc_text, expand_word_text
from stagebake.errors import InputError

# Words of BuildKit's build check SecretsUsedInArgOrEnv (moby/buildkit, frontend/dockerfile/linter)
_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
# BuildKit does not warn about these, but their values are not written down either
_PRIVATE = re.compile(r"(?:^|_)(?:pass|passphrase|pat|pwd)(?:_|$)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+:[^/@\s]+(?=@)|(?<=\bBearer )\S+")
_PUBLIC = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)

# containerd/platforms, database.go, normalizeArch
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i386": "386",
    "i686": "386",
}
_HASH_ROUNDS = 100_000


def looks_secret(name: str) -> bool:
    """Return whether the name of a variable says that it holds a secret."""
    return bool(_SECRET.search(name)) and not _PUBLIC.search(name)


@cache
def hide_secret(name: str, value: str) -> str:
    """Return the value, or a digest of it where it is a secret. The digest is slow to compute, against guessing."""
    is_secret = looks_secret(name) or _PRIVATE.search(name) or _CREDENTIALS.search(value)
    if not value or not is_secret:
        return value
    digest = hashlib.pbkdf2_hmac("sha256", _encode_text(value), _encode_text(name), _HASH_ROUNDS)
    return f"secret-{digest.hex()[:32]}"


def _encode_text(text: str) -> bytes:
    """Return the bytes of text that a file may have in another encoding than UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def is_hidden(value: str) -> bool:
    """Return whether a value is the digest that `hide_secret` makes."""
    return bool(re.fullmatch(r"secret-[0-9a-f]{32}", value))


def redact_credentials(text: str) -> str:
    """Return the text of an instruction with "…" for the credentials in it."""
    return _CREDENTIALS.sub("…", text)


def predefined_args(platforms: tuple[str, ...], target: str | None) -> dict[str, str]:
    """Return the arguments that a Dockerfile may declare without a value: BUILDPLATFORM, TARGETARCH and others.

    The target platform is the first of `platforms` (default: that of this machine), TARGETSTAGE is `target`.
    """
    machine = platform.machine().lower()
    build_platform = f"linux/{_ARCHITECTURES.get(machine, machine)}"
    target_platform = platforms[0] if platforms else build_platform
    variables = {"TARGETSTAGE": (target or "default").lower()}
    for prefix, value in (("BUILD", build_platform), ("TARGET", target_platform)):
        system, _, rest = value.partition("/")
        architecture, _, variant = rest.partition("/")
        variables[f"{prefix}PLATFORM"] = value
        variables[f"{prefix}OS"] = system
        variables[f"{prefix}ARCH"] = architecture
        variables[f"{prefix}VARIANT"] = variant
    return variables


def global_args(
    instructions: Iterable[Instruction], given: Mapping[str, str], variables: dict[str, str], path: str
) -> dict[str, str]:
    """Add the ARGs before the first FROM to the predefined `variables`; return these. Raises InputError."""
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
    """Return each name that an ARG declares with its value: the `given` one, else its default, else the `outer` one.

    The value is None where all of these are missing. Raises InputError.
    """
    for name, default in instruction.declarations:
        if name in given:
            yield name, given[name]
        elif default is not None:
            yield name, expand_word(default, variables, instruction, path)
        else:
            yield name, outer.get(name)


def expand_word(
    word: str, variables: Mapping[str, str], instruction: Instruction, path: str, *, keep_unset: bool = False
) -> str:
    """Return a word of an instruction with its variables expanded. Raises InputError with `path:line:`.

    A variable that is not set expands to nothing, or stays as written with `keep_unset`.
    """
    try:
        return expand_word_text(word, variables, escape=instruction.escape, keep_unset=keep_unset)
    except ValueError as error:
        raise _invalid_word(error, instruction, path) from None


def expand_heredoc(
    text: str, variables: Mapping[str, str], instruction: Instruction, path: str, *, keep_unset: bool = False
) -> str:
    """Return the text of a heredoc with its variables expanded, as `expand_word` does. Raises InputError."""
    try:
        return expand_heredoc_text(text, variables, keep_unset=keep_unset)
    except ValueError as error:
        raise _invalid_word(error, instruction, path) from None


def _invalid_word(error: ValueError, instruction: Instruction, path: str) -> InputError:
    return InputError(f"{path}:{instruction.line}: {error}", f"correct the {instruction.keyword} line")
