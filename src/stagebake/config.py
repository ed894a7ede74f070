"""Frozen Settings from [tool.stagebake] in pyproject.toml (or stagebake.toml), the environment and flags."""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stagebake.backends import BACKENDS
from stagebake.errors import InputError

FILES = ("stagebake.toml", "pyproject.toml")

# moby/buildkit, solver/pb: NetMode, as its frontend calls them
NETWORKS = ("default", "host", "none")

# How many minutes a push may take: nothing to do, code alone, dependencies too, everything
BUDGETS = {"restore": 2.0, "code": 5.0, "dependencies": 15.0, "full": 30.0}

# After how many seconds without a byte from a registry, or of uploads that do not end, it counts as stalled
PATIENCE = {"read": 60.0, "write": 1800.0}

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
        return is_remote(self.context)

    @property
    def cache_folder(self) -> Path:
        """Where the `local` caches of all images lie, each in a folder with the image's name."""
        return (self.root / Path(self.folder).expanduser()).resolve()

    @property
    def local_image(self) -> str:
        """A name for an image that never leaves the machine: the folder's."""
        name = re.sub(r"[^a-z0-9]+", "-", self.root.resolve().name.lower()).strip("-")
        return name or "image"


def is_remote(context: str) -> bool:
    """Whether a context is an address: of a git repository, of an archive, or an image."""
    return "://" in context or context.startswith(("git@", "github.com/"))


_KEYS = tuple(f.name.replace("_", "-") for f in fields(Settings) if f.name not in ("root", "tag", "origins"))
_LISTS = ("platforms", "secrets")
_TABLES = ("args", "contexts", "budgets", "patience")
_SWITCHES = ("cache-mounts",)
_NUMBERS = ("cache-mounts-limit",)


def load(root: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Reads the settings of the repository at `root`; the environment overrides the file, flags override both.

    In the environment a key is STAGEBAKE_KEY; lists are separated by spaces, tables are `NAME=VALUE` words, both
    quoted as in a shell. Tables are laid over the file's, and secrets are added to them. A flag that is None was not
    given. Raises InputError with file and line.
    """
    values, origins = _from_file(root)
    named = {f"--{key}": (key, value) for key, value in flags.items() if value is not None}
    for origin, (key, value) in (_from_environment(environment) | named).items():
        values[key] = _laid_over(key, values.get(key), value)
        origins[key] = origin
    for secret in values.get("secrets", ()):
        _refuse_bad_secret(secret, origins["secrets"])
    if "cache" in values:
        _refuse_unknown_backend(values["cache"], origins["cache"])
    if values.get("network", "default") not in NETWORKS:
        raise InputError(
            f"{origins['network']}: BuildKit has no network `{values['network']}`",
            f"write one of: {', '.join(NETWORKS)}",
        )
    if "folder" in values:
        _refuse_bad_folder(root, values, origins["folder"])
    if "budgets" in values:
        values["budgets"] = _numbers(values["budgets"], BUDGETS, "minutes", f"{origins['budgets']}: budget")
    if "patience" in values:
        values["patience"] = _numbers(values["patience"], PATIENCE, "seconds", f"{origins['patience']}: patience")
    image, tag = split_image(values.pop("image", None), origins.get("image", ""))
    named_values = {key.replace("-", "_"): value for key, value in values.items()}
    return Settings(root=root, image=image, tag=tag, origins=origins, **named_values)


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
    return {**known, **{name: float(text) for name, text in given.items()}}


def _refuse_unknown_backend(name: str, origin: str) -> None:
    if name not in BACKENDS:
        close = difflib.get_close_matches(name, BACKENDS, n=1)
        guess = f"did you mean `{close[0]}`? " if close else ""
        raise InputError(f"{origin}: caches cannot lie in `{name}`", f"{guess}the places are: {', '.join(BACKENDS)}")


def _refuse_bad_folder(root: Path, values: Mapping[str, Any], origin: str) -> None:
    """In the build context the caches would be part of what is built; bake's attributes end at a comma."""
    try:
        folder = (root / Path(values["folder"]).expanduser()).resolve()
    except RuntimeError:
        raise InputError(f"{origin}: nobody here has the home of `{values['folder']}`", "name another folder") from None
    context = str(values.get("context", "."))
    if not is_remote(context) and folder.is_relative_to((root / context).resolve()):
        raise InputError(
            f"{origin}: `{values['folder']}` lies in the build context, so each save would change what is built",
            "name a folder outside of it, such as ~/.cache/stagebake",
        )
    if set(values["folder"]) & set(',"'):
        raise InputError(f"{origin}: bake takes no folder with a comma or a quote", "name another folder")


def _refuse_bad_secret(text: str, origin: str) -> None:
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if not parts.get("id") or parts.keys() - {"id", "type", "env", "src", "source"}:
        named = text.partition(",")[0] if text.startswith("id=") else "(not shown)"
        raise InputError(
            f"{origin}: secret {named} is none of BuildKit's", "write id=NAME,env=VARIABLE or id=NAME,src=FILE"
        )


def _from_file(root: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of the repository's file, and `file:line` of each."""
    for name in FILES:
        path = root / name
        if not path.is_file():
            continue
        text = _text(path, name)
        document, lines = _parse(text, name), _lines(text)
        table = ("tool", "stagebake") if name == "pyproject.toml" else ()
        for depth, key in enumerate(table, 1):
            document = _table(document, key, f"{name}:{lines.get(table[:depth])}")
        origins = {key.replace("_", "-"): f"{name}:{lines[*table, key]}" for key in document}
        values = {key.replace("_", "-"): value for key, value in document.items()}
        return {key: _checked(key, value, origins[key]) for key, value in values.items()}, origins
    return {}, {}


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}:1: not readable as text: {error}", "TOML files are UTF-8") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(error))
        message, line = (found[1], int(found[2])) if found else (str(error), text.rstrip().count("\n") + 1)
        raise InputError(f"{name}:{line}: {message}", "correct the TOML") from None


def _table(document: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise InputError(f"{where}: `{key}` is a table, not `{table!r}`", "write [tool.stagebake]")
    return table


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line that begins each key and table of a TOML document, by its path.

    A statement is as many lines as parse by themselves, and a table's name goes before all keys up to the next one.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    draft, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        draft += f"{line}\n"
        try:
            paths = list(_paths(tomllib.loads(draft)))
        except tomllib.TOMLDecodeError:
            continue
        opens = draft.lstrip().startswith("[")
        for path in paths:
            found.setdefault(path if opens else (*table, *path), start)
        table = paths[-1] if opens else table
        draft, start = "", number + 1
    return found


def _paths(table: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of everything in nested tables, of each one before what is in it."""
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *below) for below in _paths(value))


def _checked(key: str, value: Any, where: str) -> Any:
    if key not in _KEYS:
        close = difflib.get_close_matches(key, _KEYS, n=1)
        guess = f"did you mean `{close[0]}`? " if close else ""
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


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Variable to the setting that it stands for, and its value."""
    found = {f"STAGEBAKE_{key.upper().replace('-', '_')}": key for key in _KEYS}
    return {
        name: (key, _from_words(key, environment[name], name)) for name, key in found.items() if environment.get(name)
    }


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
    return pairs(words, name) if key in _TABLES else tuple(words)


def pairs(words: list[str], where: str) -> dict[str, str]:
    """`NAME=VALUE` words as a table. Raises InputError for a word without `=`."""
    for word in words:
        if "=" not in word.lstrip("="):
            raise InputError(f"{where}: `{word}` is not NAME=VALUE", "write a name, `=` and the value")
    return dict(word.split("=", 1) for word in words)
