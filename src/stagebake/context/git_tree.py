"""Read a Dockerfile and its build context from a git tree, without a checkout."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from stagebake.context.entries import ContextEntry
from stagebake.dockerfile.ignore_file import IgnorePatterns, decode_rules, included_paths, parse_patterns
from stagebake.errors import InputError
from stagebake.project.git_objects import GitObjects, TreeItem

_LINK = "link "
_FOLDER = ContextEntry("folder", 0o755)

# Content of a path that no commit holds: two of them are never known to be equal
_UNCOMMITTED = ContextEntry("uncommitted")


class IgnoreFile(NamedTuple):
    """Ignore file in force: its name without its folder and its text, both "" for none."""

    name: str
    text: str


class _NamedEntry(NamedTuple):
    """Entry of a folder with its name; `tree` is the id of a folder's tree, "" for other entries."""

    name: str
    entry: ContextEntry
    tree: str = ""


class GitTrees(GitObjects):
    """Trees of a repository. A tree is read once, however many commits contain it.

    With `expand_submodules` the files of a submodule are read too, if `environment` gives git its objects.
    """

    def __init__(
        self,
        repository: Path,
        environment: Mapping[str, str] | None = None,
        *,
        expand_submodules: bool = False,
    ) -> None:
        super().__init__(repository, environment)
        self._expand_submodules = expand_submodules
        self._items: dict[str, tuple[_NamedEntry, ...]] = {}
        self._patterns: dict[str, IgnorePatterns] = {}
        self._last_filter: tuple[IgnorePatterns | None, list[str], list[str]] = (None, [], [])

    def list_entries(self, tree: str) -> dict[str, ContextEntry]:
        """Return everything below a tree, given by its id, as a checkout with umask 022 has it."""
        found: dict[str, ContextEntry] = {}
        queue = [("", tree)]  # no recursion: git stores folders of any depth
        while queue:
            prefix, folder = queue.pop()
            for item in self._list_items(folder):
                path = prefix + item.name
                found[path] = item.entry
                if item.tree:
                    queue.append((f"{path}/", item.tree))
        return found

    def filter_paths(self, paths: list[str], ignore_file: IgnoreFile) -> list[str]:
        """Return the sorted paths that an ignore file includes. Raise InputError for a pattern that BuildKit refuses.

        The last answer is kept: most commits have the same paths as the one before.
        """
        patterns = self._parse_rules(ignore_file)
        last_patterns, last_paths, included = self._last_filter
        if patterns != last_patterns or paths != last_paths:
            included = included_paths(paths, patterns)
            self._last_filter = (patterns, paths, included)
        return included

    def _list_items(self, tree: str) -> Sequence[_NamedEntry]:
        """Return the entries right in a tree."""
        if tree not in self._items:
            items = [self._describe_item(item) for item in self.read_tree(tree)]
            self._items[tree] = tuple(items)
        return self._items[tree]

    def _describe_item(self, item: TreeItem) -> _NamedEntry:
        match item.mode:
            case "40000":  # a folder
                return _NamedEntry(item.name, _FOLDER, item.id)
            case "120000":  # a link
                target = self.read_text(item.id) or ""
                return _NamedEntry(item.name, ContextEntry(f"{_LINK}{target}"))
            case "160000":  # a submodule
                return self._describe_submodule(item)
            case _:
                permissions = int(item.mode, 8) & 0o777
                return _NamedEntry(item.name, ContextEntry(f"sha1:{item.id}", permissions))

    def _describe_submodule(self, item: TreeItem) -> _NamedEntry:
        """Return the submodule as a folder if its commit can be read, else with its commit as the content."""
        tree = None
        if self._expand_submodules:
            tree = self.read_object(f"{item.id}^{{tree}}")
        if tree is None:
            return _NamedEntry(item.name, ContextEntry(f"commit {item.id}", 0))
        return _NamedEntry(item.name, _FOLDER, tree.id)

    def _parse_rules(self, ignore_file: IgnoreFile) -> IgnorePatterns:
        name, text = ignore_file
        if text not in self._patterns:
            try:
                self._patterns[text] = parse_patterns(text.splitlines())
            except ValueError as error:
                raise InputError(f"{name}: {error}", "correct or remove the pattern") from None
        return self._patterns[text]


@dataclass(frozen=True, kw_only=True)
class TreeContext:
    """Dockerfile and build context in a git tree; `revision` is a commit or the id of a tree.

    `folder` (of the context) and `dockerfile` are relative to the top of the repository, "" is the top.
    `uncommitted` are paths of the context that no commit can hold; they count as files of unknown content.
    `ignore_file` None means the one in the tree.
    """

    trees: GitTrees
    revision: str
    folder: str
    dockerfile: str
    uncommitted: Collection[str] = ()
    ignore_file: IgnoreFile | None = None

    @cached_property
    def text(self) -> str | None:
        """Text of the Dockerfile; None if the tree has none."""
        return self.trees.read_text(f"{self.revision}:{self.dockerfile}")

    @cached_property
    def tree(self) -> str:
        """Id of the context's tree; "" without a tree."""
        name = f"{self.revision}:{self.folder}" if self.folder else f"{self.revision}^{{tree}}"
        found = self.trees.read_object(name)
        return found.id if found and found.kind == "tree" else ""

    @property
    def rules_name(self) -> str:
        return self._ignore_file.name

    @property
    def rules(self) -> str:
        return self._ignore_file.text

    @cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._included)

    @cached_property
    def links(self) -> Mapping[str, str]:
        links: dict[str, str] = {}
        for path, entry in self._included.items():
            if entry.digest.startswith(_LINK):
                links[path] = entry.digest.removeprefix(_LINK)
        return links

    def read_entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
        return {path: self._included[path] for path in paths}

    @cached_property
    def _ignore_file(self) -> IgnoreFile:
        if self.ignore_file is not None:
            return self.ignore_file
        own = f"{self.dockerfile}.dockerignore"
        general = posixpath.join(self.folder, ".dockerignore")
        for path in (own, general):
            found = self.trees.read_object(f"{self.revision}:{path}")
            if found is not None:
                return IgnoreFile(posixpath.basename(path), decode_rules(found.content))
        return IgnoreFile("", "")

    @cached_property
    def _included(self) -> Mapping[str, ContextEntry]:
        """Everything that the ignore file includes, by path, sorted."""
        entries = dict.fromkeys(self.uncommitted, _UNCOMMITTED)
        if self.tree:
            entries |= self.trees.list_entries(self.tree)
        included = self.trees.filter_paths(sorted(entries), self._ignore_file)
        return {path: entries[path] for path in included}
