"""List commits and the files that they change, with git's commands. Every function raises InputError."""

from __future__ import annotations

import os
from pathlib import Path

from stagebake.errors import InputError
from stagebake.project.git import run_git, split_paths


def work_tree_top(folder: Path) -> Path:
    """Return the top of the work tree that the folder is in."""
    return Path(run_git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))


def resolve_commit(folder: Path, reference: str) -> str:
    """Return the id of the commit that a branch, a tag or another reference names."""
    commit = f"{reference}^{{commit}}"
    return run_git(folder, "rev-list", "--max-count=1", "--end-of-options", commit, "--").strip()


def list_commits(folder: Path, count: int) -> tuple[str, ...]:
    """Return the last commits of the checked-out branch, oldest first.

    Only first parents count: each commit is one push to the branch.
    """
    limit = f"--max-count={count}"
    newest_first = run_git(folder, "rev-list", "--first-parent", limit, "HEAD", "--").split()
    return tuple(reversed(newest_first))


def is_shallow(folder: Path) -> bool:
    """Return True if the clone lacks older commits."""
    return run_git(folder, "rev-parse", "--is-shallow-repository").strip() == "true"


def files_by_commit(folder: Path, count: int) -> tuple[frozenset[str], ...]:
    """Return the files below a folder that each of the last commits changed, newest first.

    Return nothing, instead of an error, where git knows no commit.
    """
    options = (
        "--first-parent",
        "-m",
        "--no-renames",
        "--name-only",
        "--relative",
        "-z",
        "--format=%x01",
        f"--max-count={count}",
    )
    try:
        log = run_git(folder, "log", *options, "--", ".")
    except InputError:
        return ()
    _, *commits = log.split("\1")
    return tuple(_split_files(commit) for commit in commits)


def tracked_files(folder: Path) -> frozenset[str]:
    """Return the files below a folder that git tracks, relative to it; nothing, instead of an error, without git."""
    try:
        return frozenset(split_paths(run_git(folder, "ls-files", "-z", "--", ".")))
    except InputError:
        return frozenset()


def has_changed_attributes(folder: Path, commit: str) -> bool:
    """Return True if a .gitattributes file differs from the commit: a checkout may convert files differently now."""
    attributes = ":(top,glob)**/.gitattributes"
    changed = run_git(folder, "diff", "--name-only", commit, "--", attributes)
    return changed != ""


def list_uncommitted_paths(folder: Path) -> frozenset[str]:
    """Return the files and folders that git never commits: its own `.git`, and what it ignores."""
    options = ("--others", "--ignored", "--exclude-standard", "--directory", "-z")
    listed = run_git(folder, "ls-files", *options, "--", ".")
    ignored = [path.rstrip("/") for path in split_paths(listed)]
    return frozenset([".git", *ignored])


def path_in_repository(root: Path, top: Path, name: str) -> str:
    """Return a path of the settings relative to the top of the repository, "" for the top itself."""
    inside = os.path.relpath(root.resolve() / name, top.resolve())
    if inside.startswith("..") or "://" in name:
        raise InputError(
            f"{name} is outside of the repository {top}",
            "use a path inside the repository: no commit has the files outside of it",
        )
    return "" if inside == "." else inside


def _split_files(commit: str) -> frozenset[str]:
    names = [name.strip("\n") for name in commit.split("\0")]
    return frozenset(name for name in names if name)
