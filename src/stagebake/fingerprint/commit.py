"""The commits of a git repository, read from its objects by one process and without a checkout."""

from __future__ import annotations

import os
import posixpath
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from stagebake.dockerfile.copy_sources import parent_folders
from stagebake.dockerfile.ignore_file import IgnorePatterns, included_paths, parse_patterns
from stagebake.errors import InputError
from stagebake.fingerprint.model import BuildContext, ContextEntry

_SECONDS = 120
_FOLDER, _LINK, _SUBMODULE = "40000", "120000", "160000"
_BLOB = "sha1:"
_COMMIT = "commit "  # what a submodule's entry begins with: which files that brings is in another repository
# What git answers, with a path, for a link that leads to no file of the commit (git-cat-file, --follow-symlinks)
_ASTRAY = (b"symlink", b"dangling", b"loop", b"notdir")

_Item = tuple[str, ContextEntry, str]
"""What a tree lists: name, content, and of a folder the id of its tree, else ""."""


def work_tree_top(folder: Path) -> Path:
    """The top of the work tree that the folder is in. Raises InputError where there is none."""
    return Path(_git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))


def resolve_commit(folder: Path, reference: str) -> str:
    """The commit that a branch, tag or other reference names. Raises InputError."""
    return _git(folder, "rev-list", "--max-count=1", "--end-of-options", f"{reference}^{{commit}}", "--").strip()


def list_commits(folder: Path, count: int) -> tuple[str, ...]:
    """The last commits of the checked-out branch, along the first parents: what each push made of it. Oldest first.

    Raises InputError.
    """
    return tuple(reversed(_git(folder, "rev-list", "--first-parent", f"--max-count={count}", "HEAD", "--").split()))


def is_shallow(folder: Path) -> bool:
    """Whether the clone lacks older commits."""
    return _git(folder, "rev-parse", "--is-shallow-repository").strip() == "true"


def files_by_commit(folder: Path, count: int) -> tuple[frozenset[str], ...]:
    """The files below a folder that each of the last commits changed, newest first; empty where git knows nothing."""
    options = ("--first-parent", "-m", "--no-renames", "--name-only", "--relative", "-z", "--format=%x01")
    try:
        blocks = _git(folder, "log", *options, f"--max-count={count}", "--", ".").split("\1")[1:]
    except InputError:
        return ()
    return tuple(frozenset(name.strip("\n") for name in block.split("\0") if name.strip("\n")) for block in blocks)


def changed_files(folder: Path, commit: str) -> frozenset[str]:
    """What the folder's work tree has otherwise than a commit, as git sees it: line ends and LFS are no change."""
    options = ("--name-only", "--no-renames", "--ignore-submodules=none", "--relative", "-z")
    return frozenset(_git(folder, "diff", *options, commit, "--", ".").split("\0"))


def attributes_changed(folder: Path, commit: str) -> bool:
    """Whether a checkout may convert files otherwise now than at a commit."""
    return bool(_git(folder, "diff", "--name-only", commit, "--", ":(top,glob)**/.gitattributes"))


def uncommitted_files(folder: Path) -> frozenset[str]:
    """The files and folders that no commit holds: git's own, and what it ignores."""
    options = ("--others", "--ignored", "--exclude-standard", "--directory", "-z")
    return frozenset(
        (".git", *(name.rstrip("/") for name in _git(folder, "ls-files", *options, "--", ".").split("\0")))
    )


def _git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises InputError with what it says of a failure."""
    command = ("git", "--no-optional-locks", *arguments)
    try:
        answer = subprocess.run(
            command, cwd=folder, capture_output=True, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _failed(folder, str(error)) from None
    if answer.returncode:
        raise _failed(folder, _words(answer.stderr))
    return answer.stdout.decode("utf-8", "surrogateescape")


def _words(log: bytes) -> str:
    """The line in which git says what is wrong; hints stand around it."""
    lines = log.decode("utf-8", "replace").splitlines()
    return next((line for line in lines if line.startswith("fatal:")), " ".join(lines[:1]) or "git failed")


def _failed(folder: Path, why: str) -> InputError:
    remedy = "run this in a work tree whose commits git has; what a clone lacks comes by `git fetch --unshallow`"
    return InputError(f"{folder}: {why}", remedy)


class GitObjects:
    """The objects of a repository, asked of one `git cat-file`; a tree is read once, however many commits have it."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._trees: dict[str, tuple[_Item, ...]] = {}
        self._patterns: dict[str, IgnorePatterns] = {}
        self._kept: tuple[IgnorePatterns | None, list[str], list[str]] = (None, [], [])

    def __enter__(self) -> Self:
        command = ["git", "cat-file", "--batch", "--follow-symlinks"]
        self._log = tempfile.TemporaryFile()
        self._git = subprocess.Popen(
            command, cwd=self._repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._git.communicate()
        self._log.close()

    def read(self, name: str) -> tuple[str, bytes, str] | None:
        """Id, content and type of an object by any name git knows (`COMMIT:path`); None where there is none."""
        requests, answers = cast(IO[bytes], self._git.stdin), cast(IO[bytes], self._git.stdout)
        try:
            requests.write(name.encode("utf-8", "surrogateescape") + b"\n")
            requests.flush()
        except BrokenPipeError:
            raise self._ended() from None
        heading = answers.readline()
        if not heading:
            raise self._ended()
        if heading.endswith((b" missing\n", b" ambiguous\n")):
            return None
        first, *kind, size = heading.split()
        content = answers.read(int(size))
        answers.read(1)
        return None if first in _ASTRAY else (first.decode(), content, kind[0].decode())

    def _ended(self) -> InputError:
        self._git.wait(_SECONDS)
        self._log.seek(0)
        return InputError(
            f"{self._repository}: {_words(self._log.read())}", "fetch what this clone lacks: git fetch --refetch"
        )

    def text(self, name: str) -> str | None:
        """The text of a file; None where there is none."""
        found = self.read(name)
        return found[1].decode("utf-8-sig", "replace") if found else None

    def entries(self, tree: str) -> Mapping[str, ContextEntry]:
        """Everything below a tree, given by its id, as a checkout under umask 022 would have it."""
        found: dict[str, ContextEntry] = {}
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
                yield name, ContextEntry("folder", 0o755), object_id
            elif mode == _LINK:
                yield name, ContextEntry(f"link {self.text(object_id) or ''}"), ""
            elif mode == _SUBMODULE:
                yield name, ContextEntry(f"{_COMMIT}{object_id}", 0), ""
            else:
                yield name, ContextEntry(f"{_BLOB}{object_id}", int(mode, 8) & 0o777), ""

    def kept(self, paths: list[str], patterns: IgnorePatterns) -> list[str]:
        """Those of the sorted paths that ignore rules let in; most commits have the same paths as the one before."""
        if (patterns, paths) != self._kept[:2]:
            self._kept = (patterns, paths, included_paths(paths, patterns))
        return self._kept[2]

    def patterns(self, name: str, rules: str) -> IgnorePatterns:
        """The rules of an ignore file, read once. Raises InputError for a pattern that BuildKit refuses."""
        if rules not in self._patterns:
            try:
                self._patterns[rules] = parse_patterns(rules.splitlines())
            except ValueError as error:
                raise InputError(f"{name}: {error}", "correct or remove the pattern") from None
        return self._patterns[rules]


def path_in_repository(root: Path, top: Path, name: str) -> str:
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
class CommitContext:
    """One commit's Dockerfile and context; both are seen from the top of the repository, "" is the top."""

    objects: GitObjects
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

    def entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
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
    def _found(self) -> Mapping[str, ContextEntry]:
        everything = self.objects.entries(self.tree) if self.tree else {}
        patterns = self.objects.patterns(*self._rules)
        return {path: everything[path] for path in self.objects.kept(sorted(everything), patterns)}


@dataclass(frozen=True, kw_only=True)
class CheckedOutCommit:
    """A commit as this work tree would have it.

    A checkout converts files (line ends, LFS) and fills submodules, which no object tells of. So what git finds
    unchanged is as it lies `here`, in the work tree under the ignore rules of the commit; `changed` is what git finds
    changed, `unheld` what no commit holds, which is taken as it lies here, too. `reattributed` tells that files may be
    converted otherwise now: then they are what the commit holds.
    """

    commit: CommitContext
    here: BuildContext
    changed: frozenset[str]
    unheld: frozenset[str]
    reattributed: bool

    @property
    def rules_name(self) -> str:
        return self.commit.rules_name

    @property
    def rules(self) -> str:
        return self.commit.rules

    @cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(sorted({*self.commit.paths, *self._lying}))

    @cached_property
    def links(self) -> Mapping[str, str]:
        return {**self.commit.links, **{path: link for path, link in self.here.links.items() if path in self._lying}}

    def entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
        there = self.commit.entries([path for path in paths if path not in self._lying])
        files = {path for path, entry in there.items() if entry.digest.startswith(_BLOB) and path in self._unchanged}
        here = self.here.entries(files | self._lying.intersection(paths))
        same = {path: replace(there[path], digest=here[path].digest) for path in files}
        return {**there, **here, **same}

    @cached_property
    def _unchanged(self) -> frozenset[str]:
        """The files that lie here as a checkout of the commit would have them."""
        return frozenset() if self.reattributed else frozenset(self.here.paths) - self.changed

    @cached_property
    def _lying(self) -> frozenset[str]:
        """What is taken as it lies here."""
        submodules = {
            path for path, entry in self.commit.entries(self.commit.paths).items() if entry.digest.startswith(_COMMIT)
        }
        roots = (submodules - self.changed) | self.unheld
        return frozenset(path for path in self.here.paths if not roots.isdisjoint((path, *parent_folders(path))))
