"""An older commit's build does not move `latest` back."""

from __future__ import annotations

import pytest

from stagebake.naming.commit_order import CommitOrder, TaggedCommit, order_commits, tagged_commit

HISTORY = ("a", "b", "c")
"""Commits of one branch, the oldest first."""


def is_ancestor(older: str, newer: str) -> bool:
    """Answer as a clone does that has these commits alone."""
    known = older in HISTORY and newer in HISTORY
    return known and HISTORY.index(older) <= HISTORY.index(newer)


def at(revision: str, day: int | None = None) -> TaggedCommit:
    return TaggedCommit(revision=revision, created=f"2026-01-{day:02}T00:00:00+01:00" if day else None)


@pytest.mark.parametrize(
    ("ours", "theirs", "order"),
    [
        (at("b"), at("b"), CommitOrder.NEWER),
        (at("c"), at("a"), CommitOrder.NEWER),
        (at("a"), at("c"), CommitOrder.OLDER),
        (at("a", 9), at("c", 1), CommitOrder.OLDER),
        (at("x", 2), at("c", 1), CommitOrder.NEWER),
        (at("x", 1), at("c", 2), CommitOrder.OLDER),
        (at("x"), at("c", 2), CommitOrder.UNKNOWN),
        (at("x", 1), at("c"), CommitOrder.UNKNOWN),
    ],
    ids=["same", "newer", "older", "history-over-time", "newer-by-time", "older-by-time", "no-time", "no-label"],
)
def test_order_commits_history_first_then_time(ours: TaggedCommit, theirs: TaggedCommit, order: CommitOrder) -> None:
    assert order_commits(ours, theirs, is_ancestor) is order


@pytest.mark.parametrize("created", ["yesterday", "", "2026-01-01T00:00:00"])
def test_order_commits_time_that_cannot_be_compared_is_unknown(created: str) -> None:
    """Not a time, or one without a zone."""
    theirs = TaggedCommit(revision="z", created=created)
    assert order_commits(at("x", 1), theirs, is_ancestor) is CommitOrder.UNKNOWN


@pytest.mark.parametrize("labels", [None, {}, {"org.opencontainers.image.revision": ""}])
def test_tagged_commit_without_a_label_gives_none(labels: dict[str, str] | None) -> None:
    assert tagged_commit(labels) is None


def test_tagged_commit_reads_revision_and_time() -> None:
    labels = {"org.opencontainers.image.revision": "abc", "org.opencontainers.image.created": "2026-01-01T00:00:00Z"}
    assert tagged_commit(labels) == TaggedCommit(revision="abc", created="2026-01-01T00:00:00Z")
