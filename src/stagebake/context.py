"""The build context: a folder on disk, or a commit of a git repository read without a checkout.

Content is compared by git's blob id (SHA-1 over `blob SIZE`, a zero byte and the content), so that a commit and a
folder can be held against each other without reading any blob. Two files made to collide would count as one here;
BuildKit, which decides by SHA-256, would still build the right image: a fingerprint is advice.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from stagebake import syntax
from stagebake.errors import InputError
from stagebake.fingerprint import Entry

_CHUNK = 256


def blob_id(content: bytes) -> str:
    """git's name for this content."""
    digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return f"sha1:{digest.hexdigest()}"


class Folder:
    """A folder on disk as BuildKit would be sent it; `dockerfile` may have an ignore file of its own beside it.

    What was hashed once is kept in `memory`, a file of the user's, by path, size, times and inode.
    """

    def __init__(self, root: Path, dockerfile: Path | None = None, memory: Path | None = None) -> None:
        self._root = root
        self._dockerfile = dockerfile
        self._memory = memory

    @cached_property
    def rules(self) -> str:
        own = self._dockerfile.with_name(f"{self._dockerfile.name}.dockerignore") if self._dockerfile else None
        for path in (own, self._root / ".dockerignore"):
            if path is not None and path.is_file():
                return path.read_text(encoding="utf-8-sig")
        return ""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._found)

    @cached_property
    def links(self) -> dict[str, str]:
        return {
            path: str((self._root / path).readlink())
            for path, found in self._found.items()
            if stat.S_ISLNK(found.st_mode)
        }

    def entries(self, paths: Collection[str]) -> Mapping[str, Entry]:
        with ThreadPoolExecutor() as pool:
            return dict(zip(paths, pool.map(self._entry, paths, chunksize=_CHUNK), strict=True))

    @cached_property
    def _found(self) -> dict[str, os.stat_result]:
        return dict(sorted(self._walk("")))

    def _walk(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        matcher = syntax.patterns(self.rules.splitlines())
        for item in os.scandir(self._root / folder):
            path = f"{folder}{item.name}"
            ignored = matcher.matches(path)
            if not ignored:
                yield path, item.stat(follow_symlinks=False)
            if item.is_dir(follow_symlinks=False) and (not ignored or matcher.may_match_under(path)):
                yield from self._walk(f"{path}/")

    def _entry(self, path: str) -> Entry:
        found = self._found[path]
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            return Entry(f"link {self.links[path]}")
        if stat.S_ISDIR(found.st_mode):
            return Entry("folder", mode)
        content = (self._root / path).read_bytes()
        return Entry(blob_id(content), mode, len(content), content.count(b"\n"))


class Tree:
    """A folder of a commit of a git repository, as a checkout under umask 022 would have it."""

    def __init__(self, repository: Path, commit: str, folder: str = "", dockerfile: str = "Dockerfile") -> None:
        """`folder` and `dockerfile` are seen from the top of the repository."""
        self._repository = repository
        self._commit = commit
        self._folder = f"{folder.strip('/')}/" if folder.strip("./") else ""
        self._dockerfile = dockerfile

    def read(self, path: str) -> str | None:
        """The text of a file, seen from the top of the repository; None where the commit has none."""
        answer = subprocess.run(
            ["git", "show", f"{self._commit}:{path}"], cwd=self._repository, capture_output=True, check=False
        )
        return answer.stdout.decode("utf-8", "replace") if answer.returncode == 0 else None

    @cached_property
    def rules(self) -> str:
        for path in (f"{self._dockerfile}.dockerignore", f"{self._folder}.dockerignore"):
            text = self.read(path)
            if text is not None:
                return text
        return ""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._found)

    @cached_property
    def links(self) -> dict[str, str]:
        return {path: entry.digest.removeprefix("link ") for path, entry in self._found.items() if entry.mode is None}

    def entries(self, paths: Collection[str]) -> Mapping[str, Entry]:
        return {path: self._found[path] for path in paths}

    @cached_property
    def _found(self) -> dict[str, Entry]:
        matcher = syntax.patterns(self.rules.splitlines())
        return {path: entry for path, entry in sorted(self._listed()) if not matcher.matches(path)}

    def _listed(self) -> Iterator[tuple[str, Entry]]:
        listing = subprocess.run(
            ["git", "ls-tree", "-r", "-t", "-z", "-l", "--full-tree", self._commit],
            cwd=self._repository,
            capture_output=True,
            check=False,
        )
        if listing.returncode:
            raise InputError(f"{self._commit}: git knows no such commit here", "fetch it, or name another")
        for line in listing.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            about, _, path = line.partition("\t")
            mode, kind, blob, size = about.split()
            if path.startswith(self._folder):
                yield path[len(self._folder) :], self._entry(mode, kind, blob, size)

    def _entry(self, mode: str, kind: str, blob: str, size: str) -> Entry:
        if kind == "tree":
            return Entry("folder", 0o755)
        if mode == "120000":
            return Entry(f"link {self._content(blob)}")
        return Entry(f"sha1:{blob}", int(mode, 8) & 0o777, int(size) if size != "-" else 0)

    def _content(self, blob: str) -> str:
        return subprocess.run(
            ["git", "cat-file", "blob", blob], cwd=self._repository, capture_output=True, check=True
        ).stdout.decode("utf-8", "surrogateescape")
