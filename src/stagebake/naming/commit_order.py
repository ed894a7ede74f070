"""Decide whether a push may move the tag `latest`: not from a newer commit's image back to an older one's. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

_REVISION = "org.opencontainers.image.revision"
_CREATED = "org.opencontainers.image.created"


class CommitOrder(Enum):
    """Where this build's commit is, seen from the commit of the image that the tag names."""

    NEWER = "newer, or the same"
    OLDER = "older"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class TaggedCommit:
    """Commit of an image: its revision, and its time (RFC 3339) where a label has it."""

    revision: str
    created: str | None = None


IsAncestor = Callable[[str, str], bool]
"""Answer whether git knows both commits and the first is an ancestor of the second."""


def tagged_commit(labels: Mapping[str, str] | None) -> TaggedCommit | None:
    """Read the commit from an image's labels (opencontainers/image-spec, annotations.md); None where they lack it."""
    revision = (labels or {}).get(_REVISION)
    if not revision:
        return None
    return TaggedCommit(revision=revision, created=(labels or {}).get(_CREATED))


def order_commits(ours: TaggedCommit, theirs: TaggedCommit, is_ancestor: IsAncestor) -> CommitOrder:
    """Compare by git's history; in a shallow clone, which lacks it, by the times of the commits."""
    if ours.revision == theirs.revision:
        return CommitOrder.NEWER
    if is_ancestor(theirs.revision, ours.revision):
        return CommitOrder.NEWER
    if is_ancestor(ours.revision, theirs.revision):
        return CommitOrder.OLDER
    return _order_times(ours.created, theirs.created)


def _order_times(ours: str | None, theirs: str | None) -> CommitOrder:
    if ours is None or theirs is None:
        return CommitOrder.UNKNOWN
    try:
        ours_time = datetime.fromisoformat(ours)
        theirs_time = datetime.fromisoformat(theirs)
        older = ours_time < theirs_time
    except (ValueError, TypeError):
        return CommitOrder.UNKNOWN
    return CommitOrder.OLDER if older else CommitOrder.NEWER


def older_warning(ours: TaggedCommit, theirs: TaggedCommit) -> str:
    """Say that `latest` was left where it is, and how to move it all the same."""
    return (
        f"`latest` is not moved: it is of commit {theirs.revision[:7]}, and this commit {ours.revision[:7]} is older; "
        "to move it back, build once with --image NAME:latest"
    )


def unknown_order_warning(ours: TaggedCommit, theirs: TaggedCommit) -> str:
    """Say that `latest` was moved although it is unknown which commit is newer."""
    return (
        f"`latest` is moved from commit {theirs.revision[:7]} to {ours.revision[:7]}; which one is newer is unknown; "
        "fetch the whole history: `fetch-depth: 0` of actions/checkout, or git fetch --unshallow"
    )
