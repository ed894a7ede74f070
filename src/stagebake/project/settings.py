"""Frozen Settings from [tool.stagebake] in pyproject.toml (or stagebake.toml), the environment and flags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.cache.backends import BACKENDS
from stagebake.errors import InputError
from stagebake.formatting import did_you_mean, find_similar_name
from stagebake.project.toml_lines import read_toml

SETTINGS_FILES = ("stagebake.toml", "pyproject.toml")

# moby/buildkit, solver/pb: NetMode, as its frontend calls them
NETWORKS = ("default", "host", "none")

# How many minutes a push may take: nothing to do, code alone, dependencies too, everything
BUDGETS = {"restore": 2.0, "code": 5.0, "dependencies": 15.0, "full": 30.0}

# After how many seconds without a byte from a registry, or of uploads that do not end, it counts as stalled
PATIENCE = {"read": 60.0, "write": 1800.0}

# containerd/platforms, platforms.go, Parse, without its short forms, in which the rest is this machine's
_PLATFORM = re.compile(r"[\w-]+(?:/[\w.-]+){1,2}", re.ASCII)

# distribution/reference, regexp.go: an optional domain, then path components, lower case
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?::[0-9]+)?"
_NAME = rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
_IMAGE = re.compile(rf"{_NAME}(?::(?P<tag>[\w][\w.-]{{0,127}}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a repository says about its builds; the keys of [tool.stagebake].

    `image` is the repository that images and caches go to, None where nothing names one; `tag` the one tag of the
    image, None where it is to be worked out. `origins` says where each setting stands (file:line, variable or flag).
    `root` is the folder that `dockerfile` and `context` are seen from. `args`, `secrets` (`id=…,env=…` or
    `id=…,src=…`), `network` and `contexts` (NAME = VALUE, in the place of an image) go to BuildKit as they are.
    `cache` is one of BACKENDS, `folder` the place of `local` caches. `cache_mounts` carries the content of RUN's cache
    mounts over the runners, none that is larger than `cache_mounts_limit` bytes.
    """

    root: Path = Path()
    image: str | None = None
    dockerfile: str = "Dockerfile"
    context: str = "."
    target: str | None = None
    platforms: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    network: str | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=lambda: dict(BUDGETS))
    patience: Mapping[str, float] = field(default_factory=lambda: dict(PATIENCE))
    mirror: str | None = None
    cache: str = "registry"
    folder: str = "~/.cache/stagebake"
    cache_mounts: bool = False
    cache_mounts_limit: int = 2_000_000_000
    tag: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def with_image(self, image: str | None) -> Settings:
        """These settings with another image name."""
        return replace(self, image=image)

    @property
    def remote_context(self) -> bool:
        """Whether the context is an address that BuildKit fetches, and no folder here."""
        return is_remote_context(self.context)

    @property
    def cache_folder(self) -> Path:
        """Where the `local` caches of all images lie, each in a folder with the image's name."""
        return (self.root / Path(self.folder).expanduser()).resolve()

    @property
    def local_image(self) -> str:
        """A name for an image that never leaves the machine: the folder's."""
        name = re.sub(r"[^a-z0-9]+", "-", self.root.resolve().name.lower()).strip("-")
        return name or "image"


def is_remote_context(context: str) -> bool:
    """Whether a context is an address: of a git repository, of an archive, or an image."""
    return "://" in context or context.startswith(("git@", "github.com/"))


_KEYS = tuple(f.name.replace("_", "-") for f in fields(Settings) if f.name not in ("root", "tag", "origins"))
_LISTS = ("platforms", "secrets")
_TABLES = ("args", "contexts", "budgets", "patience")
_SWITCHES = ("cache-mounts",)
_NUMBERS = ("cache-mounts-limit",)
_REPEATED = ("contexts", "secrets")
_PREFIX = "STAGEBAKE_"

GivenValue: TypeAlias = tuple[str, str, Any]
"""What one place says: where it stands (file:line, variable or flag), the setting, its value."""


def load_settings(root: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Reads the settings of the repository at `root`; the environment overrides the file, flags override both.

    In the environment a key is STAGEBAKE_KEY; lists are separated by spaces, tables are `NAME=VALUE` words, both
    quoted as in a shell. Tables are laid over the file's, and secrets are added to them. A flag that is None was not
    given. Raises InputError with file and line.
    """
    values: dict[str, Any] = {"budgets": BUDGETS, "patience": PATIENCE}
    origins: dict[str, str] = {}
    for origin, key, value in (*_from_file(root), *_from_environment(environment), *_from_flags(flags)):
        values[key] = _laid_over(key, values.get(key), _understood(key, value, origin))
        origins[key] = origin
    if "folder" in values:
        _refuse_bad_folder(root, values, origins["folder"])
    image, tag = split_image(values.pop("image", None), origins.get("image", ""))
    named_values = {key.replace("-", "_"): value for key, value in values.items()}
    return Settings(root=root, image=image, tag=tag, origins=origins, **named_values)


def _understood(key: str, value: Any, origin: str) -> Any:
    """The value that a setting has by what one place says. Raises InputError for what nothing could take."""
    match key:
        case "secrets":
            _refuse_bad_secrets(value, origin)
        case "platforms":
            _refuse_bad_platforms(value, origin)
        case "contexts":
            _refuse_empty_contexts(value, origin)
        case "cache":
            _refuse_unknown_backend(value, origin)
        case "network":
            _refuse_unknown_network(value, origin)
        case "budgets":
            return _numbers(value, BUDGETS, "minutes", f"{origin}: budget")
        case "patience":
            return _numbers(value, PATIENCE, "seconds", f"{origin}: patience")
    return value


def _laid_over(key: str, below: Any, value: Any) -> Any:
    if key in _TABLES:
        return {**(below or {}), **value}
    return (*(below or ()), *value) if key == "secrets" else value


def split_image(image: str | None, origin: str = "image") -> tuple[str | None, str | None]:
    """`REPOSITORY[:TAG]` in its two parts; None for what is not given. Raises InputError that names the origin."""
    if image is None:
        return None, None
    match = _IMAGE.fullmatch(image)
    if match is None or len(match["name"]) > 255:
        lower = image.lower()
        better = f"write `{lower}`" if _IMAGE.fullmatch(lower) else "write it like `ghcr.io/owner/name`, lower case"
        raise InputError(f"{origin}: no registry takes the image name `{image}`", better)
    return match["name"], match["tag"]


def _numbers(given: Mapping[str, str], known: Mapping[str, float], unit: str, origin: str) -> dict[str, float]:
    for name, text in given.items():
        if name not in known or not re.fullmatch(r"\d+(\.\d+)?", text):
            raise InputError(f"{origin} `{name} = {text}`", f"give {unit} for any of: {', '.join(known)}")
    return {name: float(text) for name, text in given.items()}


def _refuse_unknown_backend(name: str, origin: str) -> None:
    if name not in BACKENDS:
        guess = did_you_mean(name, BACKENDS)
        raise InputError(f"{origin}: caches cannot lie in `{name}`", f"{guess}the places are: {', '.join(BACKENDS)}")


def _refuse_unknown_network(name: str, origin: str) -> None:
    if name not in NETWORKS:
        raise InputError(f"{origin}: BuildKit has no network `{name}`", f"write one of: {', '.join(NETWORKS)}")


def _refuse_bad_platforms(names: Iterable[str], origin: str) -> None:
    for name in names:
        if not _PLATFORM.fullmatch(name):
            raise InputError(f"{origin}: `{name}` is no platform", "write OS/ARCHITECTURE, such as linux/arm64")


def _refuse_empty_contexts(contexts: Mapping[str, str], origin: str) -> None:
    for name, value in contexts.items():
        if not name or not value:
            raise InputError(
                f"{origin}: `{name}={value}` puts nothing in the place of an image",
                "write a name and what stands for it, such as docker-image://debian:trixie",
            )


def _refuse_bad_folder(root: Path, values: Mapping[str, Any], origin: str) -> None:
    """In the build context the caches would be part of what is built; bake's attributes end at a comma."""
    try:
        folder = (root / Path(values["folder"]).expanduser()).resolve()
    except RuntimeError:
        raise InputError(f"{origin}: nobody here has the home of `{values['folder']}`", "name another folder") from None
    context = str(values.get("context", "."))
    if not is_remote_context(context) and folder.is_relative_to((root / context).resolve()):
        raise InputError(
            f"{origin}: `{values['folder']}` lies in the build context, so each save would change what is built",
            "name a folder outside of it, such as ~/.cache/stagebake",
        )
    if set(values["folder"]) & set(',"'):
        raise InputError(f"{origin}: bake takes no folder with a comma or a quote", "name another folder")


def _refuse_bad_secrets(texts: Iterable[str], origin: str) -> None:
    for text in texts:
        parts = dict(part.partition("=")[::2] for part in text.split(","))
        if not parts.get("id") or parts.keys() - {"id", "type", "env", "src", "source"}:
            named = text.partition(",")[0] if text.startswith("id=") else "(not shown)"
            raise InputError(
                f"{origin}: secret {named} is none of BuildKit's", "write id=NAME,env=VARIABLE or id=NAME,src=FILE"
            )


def _from_file(root: Path) -> list[GivenValue]:
    """The settings of the repository's file, each with its `file:line`."""
    for name in SETTINGS_FILES:
        path = root / name
        if not path.is_file():
            continue
        document, lines = read_toml(path, name)
        table = ("tool", "stagebake") if name == "pyproject.toml" else ()
        for depth, key in enumerate(table, 1):
            document = _table(document, key, f"{name}:{lines.get(table[:depth])}")
        origins = {key: f"{name}:{lines[*table, key]}" for key in document}
        named = [(origins[key], key.replace("_", "-"), value) for key, value in document.items()]
        return [(origin, key, _checked(key, value, origin)) for origin, key, value in named]
    return []


def _table(document: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise InputError(f"{where}: `{key}` is a table, not `{table!r}`", "write [tool.stagebake]")
    return table


def _checked(key: str, value: Any, where: str) -> Any:
    if key not in _KEYS:
        guess = did_you_mean(key, _KEYS)
        raise InputError(f"{where}: no setting is called `{key}`", f"{guess}the settings are: {', '.join(_KEYS)}")
    if key in _LISTS and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if key in _TABLES and isinstance(value, dict):
        return {name: _scalar(item, f"{where}: `{key}.{name}`") for name, item in value.items()}
    if (key in _SWITCHES and isinstance(value, bool)) or (key in _NUMBERS and type(value) is int and value > 0):
        return value
    if key not in (*_LISTS, *_TABLES, *_SWITCHES, *_NUMBERS) and isinstance(value, str) and "\0" not in value:
        return value
    raise InputError(f"{where}: `{key}` is {_kind(key)}, not `{value!r}`", "see the settings in the README")


def _kind(key: str) -> str:
    kinds = {"a list of strings": _LISTS, "a table": _TABLES, "true or false": _SWITCHES, "a number of bytes": _NUMBERS}
    return next((kind for kind, keys in kinds.items() if key in keys), "a string")


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise InputError(f"{where} is a string, a number or a boolean, not `{value!r}`", "write one value for each name")


def _from_environment(environment: Mapping[str, str]) -> list[GivenValue]:
    return [
        (name, key, _from_words(key, text, name))
        for key, name in ((key, _variable(key)) for key in _KEYS)
        if (text := environment.get(name))
    ]


def _from_flags(flags: Mapping[str, Any]) -> list[GivenValue]:
    """A flag that may be given several times is called as one of its values."""
    return [
        (f"--{key.removesuffix('s') if key in _REPEATED else key}", key, value)
        for key, value in flags.items()
        if value is not None
    ]


def misspelt_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A warning for each variable that is none of the settings', and nearly one."""
    known = {_variable(key).removeprefix(_PREFIX): key for key in _KEYS}
    others = (name for name in sorted(environment) if name.startswith(_PREFIX) and environment[name])
    warnings = []
    for name in others:
        similar = find_similar_name(name.removeprefix(_PREFIX), known, cutoff=0.75)
        if similar and f"{_PREFIX}{similar}" != name:
            warnings.append(f"{name} sets nothing: did you mean {_PREFIX}{similar}?")
    return tuple(warnings)


def _variable(key: str) -> str:
    return _PREFIX + key.upper().replace("-", "_")


def _from_words(key: str, text: str, name: str) -> Any:
    if key in _SWITCHES:
        return _checked(key, {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text), name)
    if key in _NUMBERS:
        return _checked(key, int(text) if text.isdecimal() else text, name)
    if key not in (*_LISTS, *_TABLES):
        return text
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}", "quote it as in a shell") from None
    return parse_pairs(words, name) if key in _TABLES else tuple(words)


def parse_pairs(words: list[str], where: str) -> dict[str, str]:
    """`NAME=VALUE` words as a table. Raises InputError for a word without `=`."""
    for word in words:
        if "=" not in word.lstrip("="):
            raise InputError(f"{where}: `{word}` is not NAME=VALUE", "write a name, `=` and the value")
    return dict(word.split("=", 1) for word in words)
