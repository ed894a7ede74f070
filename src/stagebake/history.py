"""The commits of a git repository, read from its objects by one process and without a checkout."""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from stagebake import syntax
from stagebake.errors import InputError
from stagebake.fingerprint import Entry
from stagebake.selection import kept
from stagebake.syntax import Patterns

_SECONDS = 120
_FOLDER, _LINK = "40000", "120000"
# What git answers, with a path, for a link that leads to no file of the commit (git-cat-file, --follow-symlinks)
_ASTRAY = (b"symlink", b"dangling", b"loop", b"notdir")

_Item = tuple[str, Entry, str]
"""What a tree lists: name, content, and of a folder the id of its tree, else ""."""


def top(folder: Path) -> Path:
    """The top of the work tree that the folder is in. Raises InputError where there is none."""
    answer = _git(folder, "rev-parse", "--show-toplevel")
    if answer is None:
        raise InputError(f"{folder}: no git repository", "run this in the repository's work tree")
    return Path(answer.rstrip("\n"))


def commits(folder: Path, count: int) -> tuple[str, ...]:
    """The last commits of the checked-out branch, along the first parents: what each push made of it. Oldest first."""
    answer = _git(folder, "rev-list", "--first-parent", f"--max-count={count}", "HEAD") or ""
    return tuple(reversed(answer.split()))


def shallow(folder: Path) -> bool:
    """Whether the clone lacks older commits."""
    return (_git(folder, "rev-parse", "--is-shallow-repository") or "").strip() == "true"


def changes(folder: Path, count: int) -> tuple[frozenset[str], ...]:
    """The files below a folder that each of the last commits changed, newest first; empty where git knows nothing."""
    options = ("--first-parent", "-m", "--no-renames", "--name-only", "--relative", "-z", "--format=%x01")
    answer = _git(folder, "log", *options, f"--max-count={count}", "--", ".") or ""
    blocks = answer.split("\1")[1:]
    return tuple(frozenset(name.strip("\n") for name in block.split("\0") if name.strip("\n")) for block in blocks)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, check=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", "surrogateescape")


class Objects:
    """The objects of a repository, asked of one `git cat-file`; a tree is read once, however many commits have it."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._trees: dict[str, tuple[_Item, ...]] = {}
        self._patterns: dict[str, Patterns] = {}
        self._kept: tuple[Patterns | None, list[str], list[str]] = (None, [], [])

    def __enter__(self) -> Self:
        command = ["git", "cat-file", "--batch", "--follow-symlinks"]
        self._git = subprocess.Popen(
            command, cwd=self._repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._git.communicate()

    def read(self, name: str) -> tuple[str, bytes, str] | None:
        """Id, content and type of an object by any name git knows (`COMMIT:path`); None where there is none."""
        requests, answers = cast(IO[bytes], self._git.stdin), cast(IO[bytes], self._git.stdout)
        try:
            requests.write(name.encode("utf-8", "surrogateescape") + b"\n")
            requests.flush()
        except BrokenPipeError:
            raise _ended(self._repository, name) from None
        heading = answers.readline()
        if not heading:
            raise _ended(self._repository, name)
        if heading.endswith((b" missing\n", b" ambiguous\n")):
            return None
        first, *kind, size = heading.split()
        content = answers.read(int(size))
        answers.read(1)
        return None if first in _ASTRAY else (first.decode(), content, kind[0].decode())

    def text(self, name: str) -> str | None:
        """The text of a file; None where there is none."""
        found = self.read(name)
        return found[1].decode("utf-8-sig", "replace") if found else None

    def entries(self, tree: str) -> Mapping[str, Entry]:
        """Everything below a tree, given by its id, as a checkout under umask 022 would have it."""
        found: dict[str, Entry] = {}
        left = [("", tree)]  # no recursion: git stores folders of any depth
        while left:
            prefix, folder = left.pop()
            for name, entry, below in self._items(folder):
                path = prefix + name
                found[path] = entry
                if below:
                    left.append((f"{path}/", below))
        return found

    def _items(self, tree: str) -> tuple[_Item, ...]:
        if tree not in self._trees:
            found = self.read(tree)
            self._trees[tree] = tuple(self._listed(tree, found[1])) if found else ()
        return self._trees[tree]

    def _listed(self, tree: str, content: bytes) -> Iterator[_Item]:
        for mode, name, object_id in _parse(content, len(tree) // 2):
            if mode == _FOLDER:
                yield name, Entry("folder", 0o755), object_id
            elif mode == _LINK:
                yield name, Entry(f"link {self.text(object_id) or ''}"), ""
            else:
                yield name, Entry(f"sha1:{object_id}", int(mode, 8) & 0o777), ""

    def kept(self, paths: list[str], patterns: Patterns) -> list[str]:
        """Those of the sorted paths that ignore rules let in; most commits have the same paths as the one before."""
        if (patterns, paths) != self._kept[:2]:
            self._kept = (patterns, paths, kept(paths, patterns))
        return self._kept[2]

    def patterns(self, name: str, rules: str) -> Patterns:
        """The rules of an ignore file, read once. Raises InputError for a pattern that BuildKit refuses."""
        if rules not in self._patterns:
            try:
                self._patterns[rules] = syntax.patterns(rules.splitlines())
            except ValueError as error:
                raise InputError(f"{name}: {error}", "correct or remove the pattern") from None
        return self._patterns[rules]


def _ended(repository: Path, name: str) -> InputError:
    return InputError(f"{repository}: git cannot read {name}", "fetch what this clone lacks: git fetch --refetch")


def place(root: Path, top: Path, name: str) -> str:
    """Where a path of the settings is in the repository, "" for its top. Raises InputError for one outside."""
    inside = os.path.relpath(root.resolve() / name, top.resolve())
    if inside.startswith("..") or "://" in name:
        raise InputError(f"{name} is outside of the repository {top}", "its past is in no commit: leave this out")
    return "" if inside == "." else inside


def _parse(content: bytes, width: int) -> Iterator[tuple[str, str, str]]:
    """Mode, name and id of each entry of a tree: `MODE NAME`, a zero byte, and the bytes of the id."""
    at = 0
    while at < len(content):
        space, zero = content.index(b" ", at), content.index(b"\0", at)
        end = zero + 1 + width
        name = content[space + 1 : zero].decode("utf-8", "surrogateescape")
        yield content[at:space].decode(), name, content[zero + 1 : end].hex()
        at = end


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One commit's Dockerfile and context; both are seen from the top of the repository, "" is the top."""

    objects: Objects
    commit: str
    folder: str
    dockerfile: str

    @cached_property
    def text(self) -> str | None:
        """The Dockerfile; None where the commit has none."""
        return self.objects.text(f"{self.commit}:{self.dockerfile}")

    @cached_property
    def tree(self) -> str:
        """The id of the context's tree, "" where the commit has none."""
        tree = f"{self.commit}:{self.folder}" if self.folder else f"{self.commit}^{{tree}}"
        found = self.objects.read(tree)
        return found[0] if found and found[2] == "tree" else ""

    @property
    def rules_name(self) -> str:
        return self._rules[0]

    @property
    def rules(self) -> str:
        return self._rules[1]

    @cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._found)

    @cached_property
    def links(self) -> Mapping[str, str]:
        return {path: entry.digest.removeprefix("link ") for path, entry in self._found.items() if entry.mode is None}

    def entries(self, paths: Collection[str]) -> Mapping[str, Entry]:
        found = self._found
        return {path: found[path] for path in paths}

    @cached_property
    def _rules(self) -> tuple[str, str]:
        inside = f"{self.folder}/.dockerignore" if self.folder else ".dockerignore"
        texts = {
            path: self.objects.text(f"{self.commit}:{path}") for path in (f"{self.dockerfile}.dockerignore", inside)
        }
        found = ((posixpath.basename(path), text) for path, text in texts.items() if text is not None)
        return next(found, ("", ""))

    @cached_property
    def _found(self) -> Mapping[str, Entry]:
        everything = self.objects.entries(self.tree) if self.tree else {}
        patterns = self.objects.patterns(*self._rules)
        return {path: everything[path] for path in self.objects.kept(sorted(everything), patterns)}
