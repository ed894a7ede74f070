"""Collect the facts that rules need beside the Dockerfile: files of the context and past commits."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from stagebake.dockerfile.ignore_file import parse_patterns
from stagebake.doctor.finding import RepositoryFacts
from stagebake.fingerprint.commit import (
    files_by_commit,
)
from stagebake.fingerprint.context import ContextFolder
from stagebake.project.settings import Settings


def collect_facts(settings: Settings, seconds: Mapping[str, float], commits: int) -> RepositoryFacts:
    """What is in the context, and what the last commits changed there."""
    root = settings.root / settings.context
    if not root.is_dir():
        return RepositoryFacts(seconds=seconds, replaced=frozenset(settings.contexts))
    context = ContextFolder(root, settings.root / settings.dockerfile)
    folders = {posixpath.dirname(path) for path in context.paths}
    matcher = parse_patterns(context.rules.splitlines())
    changes = files_by_commit(root, commits)
    return RepositoryFacts(
        files=frozenset(context.paths) - folders,
        commits=tuple(frozenset(path for path in changed if not matcher.matches(path)) for changed in changes),
        seconds=seconds,
        replaced=frozenset(settings.contexts),
        ignore_file=_ignore_file(settings),
    )


def _ignore_file(settings: Settings) -> str:
    own = f"{settings.dockerfile}.dockerignore"
    inside = posixpath.normpath(posixpath.join(settings.context, ".dockerignore"))
    return own if (settings.root / own).is_file() else inside
