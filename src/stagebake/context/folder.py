"""Read the build context from a folder on disk; `tree_context` reads one from a git tree.

The content of a file is compared by git's blob id (SHA-1 over `blob SIZE`, a zero byte and the content), so a folder
and a commit can be compared without reading any blob. Two files made to collide count as equal here. BuildKit, which
compares SHA-256, still builds the right image: a fingerprint only predicts.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from stagebake.context.entries import ContextEntry
from stagebake.context.hash_memory import FileStats, HashMemory
from stagebake.dockerfile.ignore_file import IgnoreLevel, IgnorePatterns, decode_rules, parse_patterns
from stagebake.errors import InputError

_BATCH_FILES = 256
_BLOCK_BYTES = 1 << 20


def git_blob_id(content: bytes) -> str:
    """Return git's id for this content."""
    hasher = _start_blob(len(content))
    hasher.update(content)
    return f"sha1:{hasher.hexdigest()}"


class ContextFolder:
    """Build context in the folder `root`, as BuildKit reads it.

    `dockerfile` may have its own ignore file beside it. `memory` is a file that remembers the hashes of files. `rules`
    replace the text of the ignore file.
    """

    def __init__(
        self,
        root: Path,
        dockerfile: Path | None = None,
        memory: Path | None = None,
        *,
        rules: str | None = None,
    ) -> None:
        self._root = root
        self._dockerfile = dockerfile
        self._memory = HashMemory(memory)
        self._given_rules = rules
        self._hashed: dict[str, ContextEntry] = {}

    @property
    def rules_name(self) -> str:
        return self._rules_file.name if self._rules_file else ""

    @cached_property
    def rules(self) -> str:
        if self._given_rules is not None:
            return self._given_rules
        if self._rules_file is None:
            return ""
        return decode_rules(self._rules_file.read_bytes())

    @cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(self._stats))

    @cached_property
    def links(self) -> dict[str, str]:
        targets: dict[str, str] = {}
        for path, found in self._stats.items():
            if stat.S_ISLNK(found.st_mode):
                targets[path] = str((self._root / path).readlink())
        return targets

    def read_entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
        new_files: dict[str, os.stat_result] = {}
        for path in paths:
            found = self._stats[path]
            if stat.S_ISREG(found.st_mode) and path not in self._hashed:
                new_files[path] = found
        self._hash_files(new_files)
        return {path: self._hashed.get(path) or self._describe_path(path) for path in paths}

    @cached_property
    def _rules_file(self) -> Path | None:
        candidates = [self._root / ".dockerignore"]
        if self._dockerfile:
            candidates.insert(0, self._dockerfile.with_name(f"{self._dockerfile.name}.dockerignore"))
        for path in candidates:
            if path.is_file():
                return path
        return None

    @cached_property
    def _stats(self) -> FileStats:
        """Everything that the ignore rules include, by path. Raise InputError for rules or folders that fail."""
        try:
            patterns = parse_patterns(self.rules.splitlines())
            walk = _FolderWalk(self._root, patterns)
            walk.add_folder("", patterns.top)
        except ValueError as error:
            raise InputError(f"{self._rules_file}: {error}", "correct or remove the pattern") from None
        except OSError as error:
            raise InputError(
                f"{error.filename}: {error.strerror}",
                "use a readable folder as the build context",
            ) from None
        except RecursionError:
            raise InputError(
                f"{self._root}: folders are nested too deeply",
                "exclude them in .dockerignore",
            ) from None
        return walk.found

    def _hash_files(self, files: FileStats) -> None:
        self._hashed |= self._memory.recall_entries(files)
        fresh = [path for path in files if path not in self._hashed]
        if not fresh:
            return
        started = time.time_ns()
        batches = [fresh[start : start + _BATCH_FILES] for start in range(0, len(fresh), _BATCH_FILES)]
        with ThreadPoolExecutor() as pool:
            for entries in pool.map(self._hash_batch, batches):
                self._hashed |= entries
        self._memory.remember_entries(files, self._hashed, hashed_at=started)

    def _hash_batch(self, paths: Iterable[str]) -> dict[str, ContextEntry]:
        # a Path for each of many thousand files is slow
        return {path: _hash_file(f"{self._root}/{path}", self._stats[path]) for path in paths}

    def _describe_path(self, path: str) -> ContextEntry:
        """Return the entry of a link, a folder or a device."""
        found = self._stats[path]
        if stat.S_ISLNK(found.st_mode):
            return ContextEntry(f"link {self.links[path]}")
        attributes = _hash_attributes(f"{self._root}/{path}")
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISDIR(found.st_mode):
            return ContextEntry(f"folder{attributes}", mode)
        file_type = stat.S_IFMT(found.st_mode)
        return ContextEntry(f"device {file_type:o} {found.st_rdev}{attributes}", mode)


@dataclass(frozen=True)
class _FolderWalk:
    """Walk through a folder that skips what the ignore patterns exclude."""

    root: Path
    patterns: IgnorePatterns
    found: dict[str, os.stat_result] = field(default_factory=dict)

    def add_folder(self, folder: str, level: IgnoreLevel) -> bool:
        """Add what a folder contains and the patterns include; return True if there is anything."""
        before = len(self.found)
        with os.scandir(self.root / folder) as items:
            for item in items:
                path = f"{folder}{item.name}"
                is_folder = item.is_dir(follow_symlinks=False)
                is_included = not level.is_ignored(path)
                if is_folder and (is_included or self.patterns.may_match_under(path)):
                    has_content = self.add_folder(f"{path}/", level.enter_folder(path))
                    is_included = is_included or has_content
                if is_included:
                    self.found[path] = item.stat(follow_symlinks=False)
        return len(self.found) > before


def _hash_file(path: str, found: os.stat_result) -> ContextEntry:
    """Return the entry of a file; without a digest if it cannot be read or changes meanwhile."""
    hasher = _start_blob(found.st_size)
    size = 0
    lines = 0
    is_binary = False
    try:
        with Path(path).open("rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                hasher.update(block)
                size += len(block)
                lines += block.count(b"\n")
                is_binary = is_binary or b"\0" in block
        attributes = _hash_attributes(path)
    except OSError:
        return ContextEntry("")
    if size != found.st_size:
        return ContextEntry("")
    return ContextEntry(
        digest=f"sha1:{hasher.hexdigest()}{attributes}",
        mode=stat.S_IMODE(found.st_mode),
        size=size,
        lines=None if is_binary else lines,
    )


def _start_blob(size: int) -> hashlib._Hash:
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _hash_attributes(path: str) -> str:
    """Return a hash of the extended attributes that are in BuildKit's content hash (contenthash/tarsum.go), or ""."""
    if not hasattr(os, "listxattr"):
        return ""
    try:
        names = [name for name in os.listxattr(path) if _is_hashed_attribute(name)]
        values = [(name, os.getxattr(path, name)) for name in sorted(names)]
    except OSError:
        return ""
    if not values:
        return ""
    digest = hashlib.sha256(repr(values).encode()).hexdigest()
    return f" {digest[:16]}"


def _is_hashed_attribute(name: str) -> bool:
    return name == "security.capability" or not name.startswith(("security.", "system."))
