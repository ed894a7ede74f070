"""Load the settings of a repository from [tool.stagebake] (or stagebake.toml), the environment and flags.

`SETTING_KEYS` is the one table of the keys: the kind of each value, its check and its meaning. Everything else here
follows from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from stagebake.cache.backends import BACKENDS
from stagebake.errors import InputError
from stagebake.formatting import did_you_mean, find_similar_name
from stagebake.project.setting_checks import (
    COMPRESSIONS,
    SettingCheck,
    accept_any,
    check_backend,
    check_compression,
    check_contexts,
    check_folder,
    check_level,
    check_network,
    check_platforms,
    check_secrets,
    check_ssh,
    is_remote_context,
    resolve_folder,
    split_image,
)
from stagebake.project.setting_kinds import (
    AgeTableKind,
    ByteCountKind,
    LevelKind,
    ListKind,
    NumberTableKind,
    SwitchKind,
    TableKind,
    TextKind,
    ValuePlace,
    WordTableKind,
)
from stagebake.project.toml_lines import read_toml

SETTINGS_FILES = ("stagebake.toml", "pyproject.toml")

# Minutes that a push may take: nothing to do, code only, dependencies too, everything
BUDGETS = {"restore": 2.0, "code": 5.0, "dependencies": 15.0, "full": 30.0}

# Seconds without a byte from a registry (read), or of an upload that does not end (write), until it counts as stalled
PATIENCE = {"read": 60.0, "write": 1800.0}

# Lists of rules: those that doctor reports (all where it is empty), those it does not, those that make it fail
DOCTOR_LISTS = ("select", "ignore", "fail-on")

# Of BuildKit and of this; every client can pull it
DEFAULT_COMPRESSION = "gzip"

_PREFIX = "STAGEBAKE_"


@dataclass(frozen=True, kw_only=True)
class SettingKey:
    """Key of the settings: the kind of its value, the check of it, and its meaning.

    `flag` is the flag that gives one value where it is not `--KEY`.
    """

    name: str
    kind: TextKind
    meaning: str
    check: SettingCheck = accept_any
    flag: str = ""

    @property
    def variable_name(self) -> str:
        """Environment variable that gives the setting."""
        return _PREFIX + self.name.upper().replace("-", "_")

    @property
    def flag_name(self) -> str:
        """Flag that gives the setting."""
        return self.flag or f"--{self.name}"


_KEYS = (
    SettingKey(
        name="image",
        kind=TextKind(),
        meaning="repository of the image and its caches, with or without :TAG",
    ),
    SettingKey(
        name="dockerfile",
        kind=TextKind(),
        meaning="path of the Dockerfile",
    ),
    SettingKey(
        name="context",
        kind=TextKind(),
        meaning="build context: a directory, or an address that BuildKit fetches",
    ),
    SettingKey(
        name="target",
        kind=TextKind(),
        meaning="stage to build (default: the last)",
    ),
    SettingKey(
        name="platforms",
        kind=ListKind(),
        check=check_platforms,
        meaning="platforms to build for, each OS/ARCHITECTURE",
    ),
    SettingKey(
        name="args",
        kind=TableKind(),
        meaning="build arguments",
    ),
    SettingKey(
        name="secrets",
        kind=ListKind(joins=True),
        check=check_secrets,
        meaning="secrets for RUN --mount=type=secret, each id=ID,env=NAME or id=ID,src=FILE",
        flag="--secret",
    ),
    SettingKey(
        name="ssh",
        kind=ListKind(joins=True),
        check=check_ssh,
        meaning="ssh agents or keys for RUN --mount=type=ssh, each default, ID or ID=PATH",
    ),
    SettingKey(
        name="network",
        kind=TextKind(),
        check=check_network,
        meaning="network of RUN steps: default, host or none",
    ),
    SettingKey(
        name="contexts",
        kind=TableKind(),
        check=check_contexts,
        meaning="named contexts, each replaces an image, as bake's contexts",
        flag="--context",
    ),
    SettingKey(
        name="budgets",
        kind=NumberTableKind(BUDGETS, "minutes"),
        meaning="minutes that a push may take",
    ),
    SettingKey(
        name="patience",
        kind=NumberTableKind(PATIENCE, "seconds"),
        meaning="seconds to wait for a registry that sends nothing",
    ),
    SettingKey(
        name="mirror",
        kind=TextKind(),
        meaning="registry mirror that users of the image pull through",
    ),
    SettingKey(
        name="cache",
        kind=TextKind(),
        check=check_backend,
        meaning=f"cache back end, one of: {', '.join(BACKENDS)}",
    ),
    SettingKey(
        name="folder",
        kind=TextKind(),
        meaning="directory of local caches",
    ),
    SettingKey(
        name="compression",
        kind=TextKind(),
        check=check_compression,
        meaning=f"compression of new layers in image and caches, one of: {', '.join(COMPRESSIONS)}",
    ),
    SettingKey(
        name="compression-level",
        kind=LevelKind(),
        meaning="level of the compression (default: BuildKit's own)",
    ),
    SettingKey(
        name="cache-mounts",
        kind=SwitchKind(),
        meaning="keep the content of RUN --mount=type=cache between runners",
    ),
    SettingKey(
        name="cache-mounts-limit",
        kind=ByteCountKind(),
        meaning="bytes above which the content of a cache mount is not kept",
    ),
    SettingKey(
        name="doctor",
        kind=WordTableKind(DOCTOR_LISTS),
        meaning="rules that doctor reports, ignores and fails on",
    ),
    SettingKey(
        name="max-age",
        kind=AgeTableKind(),
        meaning="age at which a push of the default branch rebuilds a stage: for all stages, or a table of stages",
    ),
    SettingKey(
        name="cache-limit",
        kind=ByteCountKind(),
        meaning="bytes that caches may take in the registry beside the images; `cache prune` keeps below it",
    ),
)

SETTING_KEYS = {key.name: key for key in _KEYS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a repository; SETTING_KEYS tells what each key means.

    `root` is the directory that paths are relative to. `image` has no tag and is None where no setting names it; `tag`
    is None where stagebake chooses the tags. `origins` maps each key that was given to its place (file:line, variable
    or flag).
    """

    root: Path = Path()
    image: str | None = None
    dockerfile: str = "Dockerfile"
    context: str = "."
    target: str | None = None
    platforms: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    network: str | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=lambda: dict(BUDGETS))
    patience: Mapping[str, float] = field(default_factory=lambda: dict(PATIENCE))
    mirror: str | None = None
    cache: str = "registry"
    folder: str = "~/.cache/stagebake"
    compression: str = DEFAULT_COMPRESSION
    compression_level: int | None = None
    cache_mounts: bool = False
    cache_mounts_limit: int = 2_000_000_000
    doctor: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_age: Mapping[str, float] = field(default_factory=dict)
    cache_limit: int | None = None
    tag: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def with_image(self, image: str | None) -> Settings:
        """Return these settings with another image name."""
        return replace(self, image=image)

    @property
    def remote_context(self) -> bool:
        """Return True if BuildKit fetches the context from an address."""
        return is_remote_context(self.context)

    @property
    def cache_folder(self) -> Path:
        """Directory of the `local` caches, with a folder for each image. Raises InputError for an unknown home."""
        return resolve_folder(self.folder, self.root, self.origins.get("folder", "folder"))

    @property
    def local_image(self) -> str:
        """Name of an image that never leaves the machine, made from the name of the root directory."""
        name = re.sub(r"[^a-z0-9]+", "-", self.root.resolve().name.lower()).strip("-")
        return name or "image"


class GivenValue(NamedTuple):
    """Value of a setting in one place; `origin` is file:line, a variable or a flag."""

    origin: str
    key: SettingKey
    value: Any


def load_settings(root: Path, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Return the settings of the repository at `root`.

    The environment takes precedence over the file, flags over both. Tables, secrets and ssh keys of several places are
    merged.
    `flags` maps keys to values of the setting's own type, None for a flag that was not given.
    Raise InputError with file and line.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for given in (*_read_file(root), *_read_environment(environment), *_read_flags(flags)):
        key = given.key
        key.check(given.value, given.origin)
        values[key.name] = key.kind.merge_values(values.get(key.name), given.value)
        origins[key.name] = given.origin
    if "folder" in values:
        check_folder(values["folder"], root, values.get("context", "."), origins["folder"])
    if "compression-level" in values:
        compression = values.get("compression", DEFAULT_COMPRESSION)
        check_level(values["compression-level"], compression, origins["compression-level"])
    image, tag = split_image(values.pop("image", None), origins.get("image", ""))
    by_field = {name.replace("-", "_"): value for name, value in values.items()}
    return Settings(root=root, image=image, tag=tag, origins=origins, **by_field)


def misspelt_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning for each STAGEBAKE_ variable that is not a setting but has a similar name."""
    known = [key.variable_name.removeprefix(_PREFIX) for key in _KEYS]
    warnings: list[str] = []
    for name in sorted(environment):
        word = name.removeprefix(_PREFIX)
        if not name.startswith(_PREFIX) or not environment[name] or word in known:
            continue
        similar = find_similar_name(word, known, cutoff=0.75)
        if similar:
            warnings.append(f"{name} has no effect: did you mean {_PREFIX}{similar}?")
    return tuple(warnings)


def _read_file(root: Path) -> Iterator[GivenValue]:
    """Yield the settings of the first settings file that exists."""
    for file in SETTINGS_FILES:
        if (root / file).is_file():
            yield from _read_document(root / file)
            return


def _read_document(path: Path) -> Iterator[GivenValue]:
    document, lines = read_toml(path, path.name)
    table_path = ("tool", "stagebake") if path.name == "pyproject.toml" else ()
    for depth, name in enumerate(table_path, start=1):
        line = lines.get(table_path[:depth])
        document = _enter_table(document, name, f"{path.name}:{line}")
    for written, value in document.items():
        origin = f"{path.name}:{lines[*table_path, written]}"
        key = _find_key(written.replace("_", "-"), origin)
        yield GivenValue(origin, key, key.kind.read_toml(value, ValuePlace(key.name, origin)))


def _enter_table(document: Mapping[str, Any], name: str, origin: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{origin}: `{name}` must be a table, not `{table!r}`", "write [tool.stagebake]")
    return table


def _find_key(name: str, origin: str) -> SettingKey:
    if name not in SETTING_KEYS:
        raise InputError(
            f"{origin}: unknown setting `{name}`",
            f"{did_you_mean(name, SETTING_KEYS)}the settings are: {', '.join(SETTING_KEYS)}",
        )
    return SETTING_KEYS[name]


def _read_environment(environment: Mapping[str, str]) -> Iterator[GivenValue]:
    for key in _KEYS:
        text = environment.get(key.variable_name)
        if text:
            value = key.kind.read_variable(text, ValuePlace(key.name, key.variable_name))
            yield GivenValue(key.variable_name, key, value)


def _read_flags(flags: Mapping[str, Any]) -> Iterator[GivenValue]:
    for name, value in flags.items():
        if value is not None:
            key = SETTING_KEYS[name]
            yield GivenValue(key.flag_name, key, value)
