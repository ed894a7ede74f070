"""Say what a command of a RUN changes, for the few commands of which that is known.

A command that is not known has no effect here: nothing may be moved past it, and it is not moved.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stagebake.doctor.proof.stage_state import StageState

# Folders that package managers, and the tools for users and groups, write to
SYSTEM = (
    "/etc", "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/var", "/root", "/run", "/boot", "/opt", "/tmp",  # noqa: S108
)  # fmt: skip
# Folders below them that belong to the application
_OWN = ("/usr/src", "/var/www", "/usr/share/nginx/html", "/opt")

_OWNER = re.compile(r"(?P<user>[\w.-]+)(?::(?P<group>[\w.-]*))?")
_OCTAL = re.compile(r"[0-7]{3,4}")
_PACKAGE_NAME = re.compile(r"[\w@][\w.+:=~*@-]*")


@dataclass(frozen=True)
class TreeChange:
    """`chown` or `chmod` of everything below the paths: its tool and the owner or mode as written."""

    tool: str
    value: str
    paths: tuple[str, ...]
    recursive: bool


@dataclass(frozen=True, kw_only=True)
class CommandEffect:
    """What a command changes: nothing outside the trees of `writes`, and for `tree` only owners or modes.

    `installs` marks the commands of package managers, whose scripts read all folders of the system and variables.
    """

    writes: tuple[str, ...] = ()
    tree: TreeChange | None = None
    installs: bool = False
    folders: tuple[str, ...] = ()


def find_effect(words: Sequence[str] | None, state: StageState) -> CommandEffect | None:  # noqa: PLR0911
    """Return the effect of a command with these words; None where it is unknown."""
    if not words:
        return None
    name, *rest = words
    match name:
        case "chown" | "chmod":
            return _change_tree(name, rest, state)
        case "mkdir":
            return _make_folders(rest, state)
        case "ln":
            return _make_link(rest, state)
        case "groupadd" | "useradd" | "addgroup" | "adduser":
            return _add_user(rest)
        case "rm":
            return _clean_up(rest)
        case "set":
            return CommandEffect() if re.fullmatch(r"-[eux]+", " ".join(rest)) else None
        case _:
            return _install_packages(name, rest)


def is_system_path(path: str) -> bool:
    """Return whether a path is one that the tools of the system write to, and above it."""
    if any(path == own or path.startswith(f"{own}/") for own in _OWN):
        return False
    return path == "/" or any(path == folder or path.startswith(f"{folder}/") for folder in SYSTEM)


def _change_tree(tool: str, rest: Sequence[str], state: StageState) -> CommandEffect | None:
    flags = [word for word in rest if word.startswith("-")]
    value, *paths = [word for word in rest if not word.startswith("-")] or [""]
    recursive = any(flag in ("-R", "--recursive") for flag in flags)
    if any(flag not in ("-R", "--recursive", "-v", "-c", "-f") for flag in flags) or not paths:
        return None
    is_valid = _OWNER.fullmatch(value) if tool == "chown" else _OCTAL.fullmatch(value)
    found = _find_plain_paths(paths, state)
    if not is_valid or found is None:
        return None
    return CommandEffect(writes=found, tree=TreeChange(tool, value, found, recursive))


def _make_folders(rest: Sequence[str], state: StageState) -> CommandEffect | None:
    paths = [word for word in rest if not word.startswith("-")]
    flags = {word for word in rest if word.startswith("-")}
    found = _find_plain_paths(paths, state)
    if not paths or found is None or not flags <= {"-p", "--parents", "-v", "-pv", "-vp"}:
        return None
    return CommandEffect(writes=found, folders=found)


def _make_link(rest: Sequence[str], state: StageState) -> CommandEffect | None:
    paths = [word for word in rest if not word.startswith("-")]
    flags = {word for word in rest if word.startswith("-")}
    if len(paths) != 2 or not flags <= {"-s", "-sf", "-sfn", "-snf", "-fs", "-sv"} or not flags:
        return None
    found = _find_plain_paths(paths[1:], state)
    if found is None or paths[1].endswith("/"):
        return None
    return CommandEffect(writes=found)


def _add_user(rest: Sequence[str]) -> CommandEffect | None:
    """Return what the tools for users and groups change: files of /etc, and the user's home."""
    words = [part for word in rest for part in word.split("=", 1)]
    if not words or any(not re.fullmatch(r"[\w./,: -]*", word) for word in words):
        return None
    homes = [f"/home/{words[-1]}"]
    for flag, value in itertools.pairwise(words):
        if flag in ("-d", "-h", "--home", "--home-dir") and value.startswith("/"):
            homes.append(posixpath.normpath(value))
    return CommandEffect(writes=("/etc", "/var/mail", "/var/spool", *homes))


def _clean_up(rest: Sequence[str]) -> CommandEffect | None:
    """Return the effect of removing what package managers keep."""
    paths = [word for word in rest if not word.startswith("-")]
    if not paths or not all(re.match(r"/var/(?:lib/apt/lists|cache)/|/tmp/\*$|/var/tmp/\*$", path) for path in paths):
        return None
    return CommandEffect(writes=SYSTEM, installs=True)


def _install_packages(name: str, rest: Sequence[str]) -> CommandEffect | None:
    words = [word for word in rest if not word.startswith("-")]
    known = {
        "apt-get": ("update", "install", "clean", "autoclean", "autoremove"),
        "apt": ("update", "install", "clean"),
        "apk": ("add", "update"),
        "dnf": ("install", "clean"),
        "microdnf": ("install", "clean"),
        "yum": ("install", "clean"),
    }
    if not words or words[0] not in known.get(name, ()):
        return None
    if not all(_PACKAGE_NAME.fullmatch(word) for word in words[1:]):
        return None
    return CommandEffect(writes=SYSTEM, installs=True)


def _find_plain_paths(words: Sequence[str], state: StageState) -> tuple[str, ...] | None:
    """Return the absolute paths of words without patterns; None where one is unknown."""
    found = []
    for word in words:
        path = state.find_path(word)
        if path is None or re.search(r"[*?\[{]", path):
            return None
        found.append(path)
    return tuple(found)
