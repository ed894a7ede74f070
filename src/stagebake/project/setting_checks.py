"""Check the values of settings, each with its origin (file:line, variable or flag) for the error.

Every check raises InputError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.cache.backends import BACKENDS
from stagebake.errors import InputError
from stagebake.formatting import did_you_mean

SettingCheck: TypeAlias = Callable[[Any, str], None]
"""Check of a value, which gets its origin too."""

# moby/buildkit, solver/pb: NetMode, as its frontend calls them
NETWORKS = ("default", "host", "none")

# moby/buildkit, README.md, "Output" and "Registry": the highest compression level of each compression
COMPRESSIONS = {"gzip": 9, "zstd": 22}

# docker/buildx, util/buildflags/secrets.go
_SECRET_ATTRIBUTES = {"id", "type", "env", "src", "source"}

# docker/buildx, util/buildflags/ssh.go
_SSH = re.compile(r"[^=,\s]+(?:=[^,]+(?:,[^,]+)*)?")

# containerd/platforms, platforms.go, Parse, without its short forms, which take the rest from this machine
_PLATFORM = re.compile(r"[\w-]+(?:/[\w.-]+){1,2}", re.ASCII)

# distribution/reference, regexp.go: an optional domain, then path components, lower case
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?::[0-9]+)?"
_NAME = rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
_IMAGE = re.compile(rf"{_NAME}(?::(?P<tag>[\w][\w.-]{{0,127}}))?", re.ASCII)
_MAX_NAME = 255


def accept_any(value: Any, origin: str) -> None:
    """Accept every value."""


def check_backend(name: str, origin: str) -> None:
    """Refuse an unknown cache back end."""
    if name not in BACKENDS:
        raise InputError(
            f"{origin}: unknown cache back end `{name}`",
            f"{did_you_mean(name, BACKENDS)}use one of: {', '.join(BACKENDS)}",
        )


def check_compression(name: str, origin: str) -> None:
    """Refuse a compression that BuildKit does not have, or that a cache does not take."""
    if name not in COMPRESSIONS:
        raise InputError(f"{origin}: unknown compression `{name}`", f"use one of: {', '.join(COMPRESSIONS)}")


def check_level(level: int, compression: str, origin: str) -> None:
    """Refuse a level that the compression does not have."""
    highest = COMPRESSIONS[compression]
    if level > highest:
        raise InputError(
            f"{origin}: compression level {level} is not valid for {compression}",
            f"use a level from 0 to {highest}",
        )


def check_network(name: str, origin: str) -> None:
    """Refuse a network that RUN steps cannot have."""
    if name not in NETWORKS:
        raise InputError(f"{origin}: unknown network `{name}`", f"use one of: {', '.join(NETWORKS)}")


def check_platforms(names: Iterable[str], origin: str) -> None:
    """Refuse a platform that is not OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT."""
    for name in names:
        if not _PLATFORM.fullmatch(name):
            raise InputError(
                f"{origin}: `{name}` is not a valid platform",
                "write OS/ARCHITECTURE, such as linux/arm64",
            )


def check_contexts(contexts: Mapping[str, str], origin: str) -> None:
    """Refuse a named context without a name or a value."""
    for name, value in contexts.items():
        if not name or not value:
            raise InputError(
                f"{origin}: named context `{name}={value}` is empty",
                "write its name and value, such as debian:12=docker-image://debian:trixie",
            )


def check_secrets(secrets: Iterable[str], origin: str) -> None:
    """Refuse a secret that BuildKit does not take. Show at most its id: the rest may be the secret itself."""
    for secret in secrets:
        attributes = dict(part.partition("=")[::2] for part in secret.split(","))
        if attributes.get("id") and attributes.keys() <= _SECRET_ATTRIBUTES:
            continue
        shown = secret.partition(",")[0] if secret.startswith("id=") else "(not shown)"
        raise InputError(
            f"{origin}: secret {shown} is not valid",
            "write id=NAME,env=VARIABLE or id=NAME,src=FILE",
        )


def check_ssh(keys: Iterable[str], origin: str) -> None:
    """Refuse ssh keys that are neither `default` or another id, nor ID=PATH with one path or more."""
    for key in keys:
        if not _SSH.fullmatch(key):
            raise InputError(
                f"{origin}: ssh `{key}` is not valid",
                "write default, or ID=PATH with a private key or the socket of an ssh agent",
            )


def check_folder(folder: str, root: Path, context: str, origin: str) -> None:
    """Refuse a directory for local caches inside the build context, or that a bake file cannot name."""
    place = resolve_folder(folder, root, origin)
    if not is_remote_context(context) and place.is_relative_to((root / context).resolve()):
        raise InputError(
            f"{origin}: `{folder}` is in the build context, so every save would change the image",
            "name a directory outside the context, such as ~/.cache/stagebake",
        )
    if "," in folder or '"' in folder:  # bake's attributes end at a comma
        raise InputError(f"{origin}: bake accepts no directory with a comma or a quote", "name another directory")


def resolve_folder(folder: str, root: Path, origin: str) -> Path:
    """Return the directory for local caches. Raise InputError where it is in a home directory that is unknown."""
    try:
        return (root / Path(folder).expanduser()).resolve()
    except RuntimeError:
        raise InputError(
            f"{origin}: the home directory of `{folder}` is unknown",
            "set the variable HOME, or name another directory",
        ) from None


def is_remote_context(context: str) -> bool:
    """Return True for the address of a git repository, an archive or an image; False for a directory here."""
    return "://" in context or context.startswith(("git@", "github.com/"))


def split_image(image: str | None, origin: str = "image") -> tuple[str | None, str | None]:
    """Split `REPOSITORY[:TAG]` into its two parts; a part that is not given is None.

    Raise InputError for a name that registries refuse.
    """
    if image is None:
        return None, None
    match = _IMAGE.fullmatch(image)
    if match is None or len(match["name"]) > _MAX_NAME:
        lower = image.lower()
        hint = f"write `{lower}`" if _IMAGE.fullmatch(lower) else "write it like `ghcr.io/owner/name`, lower case"
        raise InputError(f"{origin}: the image name `{image}` is not valid", hint)
    return match["name"], match["tag"]
