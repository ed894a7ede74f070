"""The build context as a folder on disk; `history.Snapshot` is one in a commit of a git repository.

Content is compared by git's blob id (SHA-1 over `blob SIZE`, a zero byte and the content), so that a commit and a
folder can be held against each other without reading any blob. Two files made to collide would count as one here;
BuildKit, which decides by SHA-256, would still build the right image: a fingerprint is advice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from stagebake.dockerfile.ignore_file import IgnoreLevel, IgnorePatterns, parse_patterns
from stagebake.errors import InputError
from stagebake.files import user_cache_folder, write_file
from stagebake.fingerprint.model import ContextEntry

_BATCH = 256
_BLOCK = 1 << 20
_FRESH = 2 * 10**9  # nanoseconds in which a file may change again without another time, as git counts
_MEMORY = 1  # version of the format
_NOTHING = (None,)
_ROW = ("key", "digest", "mode", "size", "lines")


def git_blob_id(content: bytes) -> str:
    """git's name for this content."""
    return f"sha1:{_hasher(len(content), content).hexdigest()}"


def _hasher(size: int, content: bytes = b"") -> hashlib._Hash:
    return hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False)


def hash_memory_file(root: Path, environment: Mapping[str, str]) -> Path:
    """Where the hashes of a folder are kept for the next time: in the user's cache directory."""
    name = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return user_cache_folder(environment) / f"{name}.json"


class ContextFolder:
    """A folder on disk as BuildKit would be sent it; `dockerfile` may have an ignore file of its own beside it.

    `memory` is a file that keeps what was hashed, by path, size, inode and times; `rules` are ignore rules that count
    in the place of the file's.
    """

    def __init__(
        self, root: Path, dockerfile: Path | None = None, memory: Path | None = None, *, rules: str | None = None
    ) -> None:
        self._root = root
        self._dockerfile = dockerfile
        self._memory = memory
        self._given = rules
        self._hashed: dict[str, ContextEntry] = {}

    @property
    def rules_name(self) -> str:
        return self._rules_file.name if self._rules_file else ""

    @cached_property
    def rules(self) -> str:
        if self._given is not None:
            return self._given
        path = self._rules_file
        return path.read_text(encoding="utf-8-sig", errors="replace") if path else ""

    @cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(self._found))

    @cached_property
    def links(self) -> dict[str, str]:
        links = (path for path, found in self._found.items() if stat.S_ISLNK(found.st_mode))
        return {path: str((self._root / path).readlink()) for path in links}

    def read_entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
        regular = [path for path in paths if stat.S_ISREG(self._found[path].st_mode)]
        self._hash([path for path in regular if path not in self._hashed])
        return {path: self._hashed.get(path) or self._other(path) for path in paths}

    @cached_property
    def _rules_file(self) -> Path | None:
        own = self._dockerfile.with_name(f"{self._dockerfile.name}.dockerignore") if self._dockerfile else None
        return next((path for path in (own, self._root / ".dockerignore") if path and path.is_file()), None)

    @cached_property
    def _found(self) -> dict[str, os.stat_result]:
        found: dict[str, os.stat_result] = {}
        try:
            patterns = parse_patterns(self.rules.splitlines())
            self._walk("", patterns.top, patterns, found)
        except ValueError as error:
            raise InputError(f"{self._rules_file}: {error}", "correct or remove the pattern") from None
        except OSError as error:
            raise InputError(
                f"{error.filename}: {error.strerror}", "let the build context be a readable folder"
            ) from None
        except RecursionError:
            raise InputError(f"{self._root}: folders too deep to read", "keep them out by .dockerignore") from None
        return found

    def _walk(
        self, folder: str, level: IgnoreLevel, patterns: IgnorePatterns, found: dict[str, os.stat_result]
    ) -> bool:
        """Adds what is in a folder and not ignored; returns whether there is anything."""
        before = len(found)
        with os.scandir(self._root / folder) as items:
            for item in items:
                path = f"{folder}{item.name}"
                ignored = level.is_ignored(path)
                inside = item.is_dir(follow_symlinks=False) and (not ignored or patterns.may_match_under(path))
                if (inside and self._walk(f"{path}/", level.enter_folder(path), patterns, found)) or not ignored:
                    found[path] = item.stat(follow_symlinks=False)
        return len(found) > before

    def _hash(self, paths: list[str]) -> None:
        known = _recall(self._memory)
        keys = {path: _key(self._found[path]) for path in paths}
        self._hashed.update(
            (path, ContextEntry(*known[path][1:])) for path in paths if known.get(path, _NOTHING)[0] == keys[path]
        )
        fresh = [path for path in paths if path not in self._hashed]
        if not fresh:
            return
        now = time.time_ns()
        with ThreadPoolExecutor() as pool:
            batches = (fresh[i : i + _BATCH] for i in range(0, len(fresh), _BATCH))
            for found in pool.map(self._read, batches):
                self._hashed.update(found)
        settled = (path for path in paths if self._found[path].st_ctime_ns < now - _FRESH and self._hashed[path].digest)
        _remember(self._memory, {path: (keys[path], self._hashed[path]) for path in settled})

    def _read(self, paths: Iterable[str]) -> dict[str, ContextEntry]:
        return {path: _read(f"{self._root}/{path}", self._found[path]) for path in paths}

    def _other(self, path: str) -> ContextEntry:
        found = self._found[path]
        if stat.S_ISLNK(found.st_mode):
            return ContextEntry(f"link {self.links[path]}")
        kind = "folder" if stat.S_ISDIR(found.st_mode) else f"device {stat.S_IFMT(found.st_mode):o} {found.st_rdev}"
        return ContextEntry(f"{kind}{_attributes(f'{self._root}/{path}')}", stat.S_IMODE(found.st_mode))


def _key(found: os.stat_result) -> str:
    return f"{found.st_mode} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _read(path: str, found: os.stat_result) -> ContextEntry:
    """One file; without a digest where it cannot be read, or changes while it is read."""
    hashed = _hasher(found.st_size)
    size = lines = 0
    binary = False
    try:
        with Path(path).open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                hashed.update(block)
                size += len(block)
                lines += block.count(b"\n")
                binary = binary or b"\0" in block
        attributes = _attributes(path)
    except OSError:
        return ContextEntry("")
    if size != found.st_size:
        return ContextEntry("")
    digest = f"sha1:{hashed.hexdigest()}{attributes}"
    return ContextEntry(digest, stat.S_IMODE(found.st_mode), size, None if binary else lines)


def _attributes(path: str) -> str:
    """Extended attributes are in BuildKit's content hash, but for most of the system's own (contenthash/tarsum.go)."""
    if not hasattr(os, "listxattr"):
        return ""
    try:
        names = [name for name in os.listxattr(path) if not name.startswith(("security.", "system."))]
        names += [name for name in ("security.capability",) if name in os.listxattr(path)]
        values = [(name, os.getxattr(path, name)) for name in sorted(names)]
    except OSError:
        return ""
    return f" {hashlib.sha256(repr(values).encode()).hexdigest()[:16]}" if values else ""


def _recall(memory: Path | None) -> dict[str, list[Any]]:
    """Path to its key and the four fields of its Entry; empty where there is nothing to trust."""
    if memory is None:
        return {}
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
        rows = dict(found["files"]) if found["version"] == _MEMORY else {}
        return {path: row for path, row in rows.items() if isinstance(row, list) and len(row) == len(_ROW)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(memory: Path | None, entries: Mapping[str, tuple[str, ContextEntry]]) -> None:
    if memory is None:
        return
    rows = {path: [key, e.digest, e.mode, e.size, e.lines] for path, (key, e) in entries.items()}
    with contextlib.suppress(OSError):  # a home that cannot be written to costs time, nothing else
        write_file(memory, json.dumps({"version": _MEMORY, "files": rows}))
