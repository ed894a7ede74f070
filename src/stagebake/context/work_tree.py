"""Write the work tree of a repository as a git tree, to compare it with a commit.

Files are converted as `git add` does (line ends, LFS), so a file that git finds unchanged has the same blob in both
trees. Submodules become folders with their files. The repository itself stays as it is: index and new objects are
temporary.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stagebake.context.folder import ContextFolder
from stagebake.context.git_tree import GitTrees, IgnoreFile, TreeContext
from stagebake.dockerfile.copy_sources import parent_folders
from stagebake.errors import InputError
from stagebake.project.git import join_paths, run_git, split_paths
from stagebake.project.git_history import (
    has_changed_attributes,
    list_uncommitted_paths,
    path_in_repository,
    resolve_commit,
    work_tree_top,
)
from stagebake.project.settings import Settings

_SUBMODULE_MODE = "160000"


@dataclass(frozen=True, kw_only=True)
class ComparedContexts:
    """Build context of a commit and of the work tree.

    `uncommitted` are paths whose content at the commit is unknown. If `converts_differently`, git's blobs do not tell
    whether files on disk changed, because their conversion (line ends, LFS) may have.
    """

    before: TreeContext
    now: TreeContext
    uncommitted: Collection[str]
    converts_differently: bool


@contextmanager
def open_contexts(settings: Settings, reference: str) -> Iterator[ComparedContexts]:
    """Open the build context of a commit and of the work tree. Raise InputError for a commit without them."""
    root = settings.root / settings.context
    top = work_tree_top(settings.root)
    commit = resolve_commit(settings.root, reference)
    dockerfile = path_in_repository(settings.root, top, settings.dockerfile)
    folder = path_in_repository(settings.root, top, settings.context)
    on_disk = ContextFolder(root, settings.root / settings.dockerfile)
    with tempfile.TemporaryDirectory() as scratch:
        writer = _TreeWriter(Path(scratch), [top / folder / path for path in on_disk.paths])
        tree = writer.write_tree(top)
        with GitTrees(top, writer.environment, expand_submodules=True) as trees:
            before = TreeContext(trees=trees, revision=commit, folder=folder, dockerfile=dockerfile)
            _refuse_missing_files(before, reference)
            now = replace(before, revision=tree, ignore_file=IgnoreFile(on_disk.rules_name, on_disk.rules))
            uncommitted = list_uncommitted_paths(root)
            yield ComparedContexts(
                before=_add_uncommitted(before, root, uncommitted),
                now=_add_uncommitted(now, root, uncommitted),
                uncommitted=uncommitted,
                converts_differently=has_changed_attributes(root, commit),
            )


def _refuse_missing_files(context: TreeContext, reference: str) -> None:
    if context.text is None:
        missing = context.dockerfile
    elif not context.tree:
        missing = context.folder
    else:
        return
    raise InputError(f"--since: {reference} has no {missing}", "name a commit that has it")


def _add_uncommitted(context: TreeContext, root: Path, uncommitted: Collection[str]) -> TreeContext:
    """Add the files on disk at and below the uncommitted paths, as far as the context's ignore file includes them."""
    folder = ContextFolder(root, rules=context.rules)
    roots = frozenset(uncommitted)
    paths: list[str] = []
    for path in folder.paths:
        if path in roots or not roots.isdisjoint(parent_folders(path)):
            paths.append(path)
    return replace(context, uncommitted=paths)


class _TreeWriter:
    """Writer of work trees as git trees; index and objects are files in the folder `scratch`.

    Of changed files only those in `wanted` are read: others may be large, and the ignore file excludes them.
    """

    def __init__(self, scratch: Path, wanted: Iterable[Path]) -> None:
        self._scratch = scratch
        self._wanted = frozenset(wanted)
        self._object_folders: list[str] = []
        (scratch / "objects").mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which git reads the written objects and those of the repositories they come from."""
        return {
            **os.environ,
            "GIT_OBJECT_DIRECTORY": str(self._scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(self._object_folders),
        }

    def write_tree(self, folder: Path) -> str:
        """Write the work tree of the repository in a folder, submodules included; return the id of its tree."""
        index = self._copy_index(folder)

        def git(*arguments: str, paths: Iterable[str] = ()) -> str:
            environment = {**self.environment, "GIT_INDEX_FILE": str(index)}
            return run_git(folder, *arguments, environment=environment, text=join_paths(paths))

        listed = split_paths(git("ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"))
        changed = [path for path in listed if self._is_wanted(folder / path)]
        nested = [path.rstrip("/") for path in changed if path.endswith("/")]  # repositories that are not submodules
        files = [path for path in changed if not path.endswith("/")]
        git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", paths=files)
        submodules = _list_submodules(folder, git("ls-files", "--stage", "-z"))
        for path in (*nested, *submodules):
            tree = self.write_tree(folder / path)
            git("update-index", "--force-remove", "-z", "--stdin", paths=[path])
            git("read-tree", f"--prefix={path}/", tree)
        return git("write-tree", "--missing-ok").strip()

    def _is_wanted(self, path: Path) -> bool:
        is_deleted = not os.path.lexists(path)
        return is_deleted or path in self._wanted

    def _copy_index(self, folder: Path) -> Path:
        """Copy the index of a repository, and remember where its objects are."""
        objects = _find_git_path(folder, "objects")
        index = _find_git_path(folder, "index")
        self._object_folders.append(_quote_path(objects))
        copy = self._scratch / f"index{len(self._object_folders)}"
        if index.exists():  # it has the times of the files, so git reads only those that changed
            shutil.copy2(index, copy)  # git compares the time of the index, too
        return copy


def _find_git_path(folder: Path, name: str) -> Path:
    path = run_git(folder, "rev-parse", "--git-path", name)
    return folder / path.rstrip("\n")


def _list_submodules(folder: Path, stage: str) -> list[str]:
    """Return the submodules that are checked out, from the output of `git ls-files --stage -z`."""
    paths: list[str] = []
    for line in split_paths(stage):
        properties, _, path = line.partition("\t")
        is_submodule = properties.startswith(_SUBMODULE_MODE)
        if is_submodule and (folder / path / ".git").exists():
            paths.append(path)
    return paths


def _quote_path(path: Path) -> str:
    """Quote a path for GIT_ALTERNATE_OBJECT_DIRECTORIES, whose paths are separated by colons."""
    escaped = str(path.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
