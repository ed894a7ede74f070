"""The user's files: read as text, written whole or not at all."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stagebake.errors import InputError


def read_text(path: Path) -> str:
    """The text of a file. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:1: not readable: {error}", "give the path of a text file") from None


def refuse_unwritable(path: Path, flag: str) -> None:
    """Raises InputError where a file that is written later could not be."""
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"{flag}: {path} cannot be written", "name a file in a folder that you may write to")


def write_file(path: Path, content: str | bytes) -> None:
    """Writes a file atomically: a reader sees the old one or the new one. Text keeps the line ends of the old one."""
    data = content if isinstance(content, bytes) else _ended_as(path, content).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def user_cache_folder(environment: Mapping[str, str]) -> Path:
    """Return stagebake's folder for files that may be lost (specifications.freedesktop.org/basedir-spec)."""
    base = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stagebake"


def text_difference(path: Path, text: str) -> str:
    """What would change in the file, as a unified diff; empty where nothing would."""
    old = read_text(path) if path.exists() else ""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        text.splitlines(keepends=True),
        f"{path.name} (as it is)",
        f"{path.name} (as it should be)",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _ended_as(path: Path, text: str) -> str:
    """The text with the line ends that the file has (git's core.autocrlf may have made them CRLF)."""
    if not path.is_file():
        return text
    with path.open("rb") as file:
        return text.replace("\n", "\r\n") if file.readline().endswith(b"\r\n") else text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
