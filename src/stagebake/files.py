"""Read and write the user's files: text is checked, and a file is written completely or not at all."""

from __future__ import annotations

import difflib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stagebake.errors import InputError


def read_text(path: Path) -> str:
    """Return the text of a file. Raises InputError where it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:1: not readable: {error}", "give the path of a text file") from None


def read_exact_text(path: Path) -> str:
    """Return the text of a file with its line ends. Bytes that are not UTF-8 become surrogates (PEP 383).

    Raises OSError.
    """
    return path.read_bytes().decode("utf-8", "surrogateescape")


def file_mode(path: Path) -> int | None:
    """Return the permissions of a regular file; None where it is missing, a link or anything else."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else None


def refuse_unwritable(path: Path, flag: str) -> None:
    """Raise InputError if a file cannot be written later."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    is_writable = folder.is_dir() and os.access(folder, os.W_OK)
    if path.is_dir() or not is_writable:
        raise InputError(f"{flag}: {path} cannot be written", "name a file in a folder that you may write to")


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new one.

    Creates its folders. An existing file keeps its mode, and a text keeps the line endings of the old one.
    """
    data = content if isinstance(content, bytes) else _keep_line_endings(path, content).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        draft.chmod(_choose_mode(path))
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def user_cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return stagebake's folder for files that may be lost (specifications.freedesktop.org/basedir-spec).

    None for a user without a home directory, such as an unknown user id in a container.
    """
    base = environment.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "stagebake"
    try:
        return Path.home() / ".cache" / "stagebake"
    except RuntimeError:
        return None


def text_difference(path: Path, text: str) -> str:
    """Return what would change in a file, as a unified diff; empty where nothing would."""
    old = read_text(path) if path.exists() else ""
    return compare_texts(path.name, old, text)


def compare_texts(name: str, old: str, new: str) -> str:
    """Return the difference between two texts of a file, as a unified diff; empty where they are the same."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"{name} (as it is)",
        f"{name} (as it should be)",
    )
    ended = [line if line.endswith("\n") else f"{line}\n" for line in lines]
    return "".join(ended)


def _keep_line_endings(path: Path, text: str) -> str:
    """Return the text with the line endings of the file; git's core.autocrlf may have made them CRLF."""
    if not path.is_file():
        return text
    with path.open("rb") as file:
        first_line = file.readline()
    return text.replace("\n", "\r\n") if first_line.endswith(b"\r\n") else text


def _choose_mode(path: Path) -> int:
    """Return the mode of an existing file, or the one that the umask gives to a new file."""
    if path.exists():
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
