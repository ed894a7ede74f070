"""Collect what the rules need besides the Dockerfile: files of the context, past commits, build times."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from stagebake.context.folder import ContextFolder
from stagebake.dockerfile.ignore_file import parse_patterns
from stagebake.project.git_history import files_by_commit, tracked_files
from stagebake.project.settings import Settings
from stagebake.transfer.step_layers import LayeredStages


@dataclass(frozen=True, kw_only=True)
class RepositoryFacts:
    """Facts about a repository, for the rules. Paths are relative to the context; ignored files are left out.

    `files` are the files that exist, `commits` the files that each of the last commits changed, newest first.
    `seconds` is how long each stage last took. `replaced` are the images that a named context of the settings
    replaces. `ignore_file` is the path of the ignore file, which may not exist yet, `ignore_rules` its lines.
    `tracked` are the files that git tracks. `layered` are the layers of each stage's steps in the saved caches.
    """

    files: frozenset[str] = frozenset()
    commits: tuple[frozenset[str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    ignore_file: str = ".dockerignore"
    ignore_rules: tuple[str, ...] = ()
    tracked: frozenset[str] = frozenset()
    layered: LayeredStages = field(default_factory=dict)


def collect_facts(
    settings: Settings,
    seconds: Mapping[str, float],
    commits: int,
    layered: LayeredStages | None = None,
) -> RepositoryFacts:
    """Return the files of the context and what the last commits changed there; neither for a remote context."""
    root = settings.root / settings.context
    replaced = frozenset(settings.contexts)
    if not root.is_dir():
        return RepositoryFacts(seconds=seconds, replaced=replaced, layered=layered or {})
    context = ContextFolder(root, settings.root / settings.dockerfile)
    folders = {posixpath.dirname(path) for path in context.paths}
    ignored = parse_patterns(context.rules.splitlines())
    changes = []
    for changed in files_by_commit(root, commits):
        changes.append(frozenset(path for path in changed if not ignored.matches(path)))
    return RepositoryFacts(
        files=frozenset(context.paths) - folders,
        commits=tuple(changes),
        seconds=seconds,
        replaced=replaced,
        ignore_file=_find_ignore_file(settings),
        ignore_rules=tuple(context.rules.splitlines()),
        tracked=tracked_files(root),
        layered=layered or {},
    )


def _find_ignore_file(settings: Settings) -> str:
    beside_dockerfile = f"{settings.dockerfile}.dockerignore"
    if (settings.root / beside_dockerfile).is_file():
        return beside_dockerfile
    return posixpath.normpath(posixpath.join(settings.context, ".dockerignore"))
