"""Remember the hashes of files from one run to the next, in a JSON file of the user's cache directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.context.entries import ContextEntry
from stagebake.files import user_cache_folder, write_file

_VERSION = 1  # of the format
_ROW = ("key", "digest", "mode", "size", "lines")

# A file can change again within this time and keep its times, as git assumes, too
_SETTLE_NANOSECONDS = 2 * 10**9

FileStats: TypeAlias = Mapping[str, os.stat_result]
"""Files by path, with what the file system says of each."""


def hash_memory_file(root: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the file that remembers the hashes of a folder; None for a user without a home directory."""
    folder = user_cache_folder(environment)
    if folder is None:
        return None
    place = str(root.resolve()).encode("utf-8", "surrogateescape")
    name = hashlib.sha256(place).hexdigest()[:16]
    return folder / f"{name}.json"


class HashMemory:
    """Memory in a file; None remembers nothing. A file counts as unchanged if size, mode, inode and times are equal."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def recall_entries(self, files: FileStats) -> dict[str, ContextEntry]:
        """Return the entries of the files that are unchanged since they were remembered."""
        rows = self._read_rows()
        entries: dict[str, ContextEntry] = {}
        for path, stat in files.items():
            row = rows.get(path)
            if row is None:
                continue
            key, *entry = row
            if key == _file_key(stat):
                entries[path] = ContextEntry(*entry)
        return entries

    def remember_entries(
        self,
        files: FileStats,
        entries: Mapping[str, ContextEntry],
        *,
        hashed_at: int,
    ) -> None:
        """Remember the files that were readable and had not just changed when they were hashed (nanoseconds)."""
        rows: dict[str, list[Any]] = {}
        for path, stat in files.items():
            entry = entries[path]
            is_settled = stat.st_ctime_ns < hashed_at - _SETTLE_NANOSECONDS
            if entry.digest and is_settled:
                rows[path] = [
                    _file_key(stat),
                    entry.digest,
                    entry.mode,
                    entry.size,
                    entry.lines,
                ]
        self._write_rows(rows)

    def _read_rows(self) -> dict[str, list[Any]]:
        """Return the rows by path; none from a file that is missing or damaged."""
        if self._file is None:
            return {}
        try:
            text = self._file.read_text(encoding="utf-8")
            document = json.loads(text)
            version = document["version"]
            rows = dict(document["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if version != _VERSION:
            return {}
        return {path: row for path, row in rows.items() if _is_row(row)}

    def _write_rows(self, rows: Mapping[str, list[Any]]) -> None:
        if self._file is None:
            return
        document = {"version": _VERSION, "files": rows}
        with contextlib.suppress(OSError):  # a home that is not writable costs time, nothing else
            write_file(self._file, json.dumps(document))


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == len(_ROW)


def _file_key(stat: os.stat_result) -> str:
    return f"{stat.st_mode} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
