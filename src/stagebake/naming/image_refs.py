"""Choose the refs and labels of the image that a build pushes or loads. Pure: registry and git are passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stagebake.cache.scopes import Trigger
from stagebake.errors import InputError
from stagebake.naming.commit_order import (
    CommitOrder,
    IsAncestor,
    TaggedCommit,
    older_warning,
    order_commits,
    tagged_commit,
    unknown_order_warning,
)
from stagebake.naming.image_tags import LATEST, CommitInfo, ImageNames, from_metadata_action, labels_for, tags_for

ReadLabels = Callable[[str], Mapping[str, str] | None]
"""Read the labels of the image with this tag; None where the tag is missing, or where the registry does not answer."""


@dataclass(frozen=True, kw_only=True)
class NamingInput:
    """Facts that an image's refs and labels depend on.

    `tag` is the user's own, which overrides all others. `bake_files` (path to text) are of docker/metadata-action.
    """

    image: str
    tag: str | None
    push: bool
    trigger: Trigger
    default_branch: str
    commit: CommitInfo
    bake_files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ChosenNames:
    """Refs and labels of the image, and warnings about tags that it does not get."""

    names: ImageNames
    warnings: tuple[str, ...] = ()


def choose_names(given: NamingInput, read_labels: ReadLabels, is_ancestor: IsAncestor) -> ChosenNames:
    """Take the names from the bake files, from the user's tag, or from the trigger and the commit.

    Raises InputError for a push that has no certain tag.
    """
    tags = _choose_tags(given)
    warnings: tuple[str, ...] = ()
    if given.push and not given.tag and not given.bake_files and LATEST in tags:
        order, warnings = _compare_with_latest(given.commit, read_labels, is_ancestor)
        if order is CommitOrder.OLDER:
            tags = tuple(tag for tag in tags if tag != LATEST)
    ours = ImageNames(
        refs=tuple(f"{given.image}:{tag}" for tag in tags),
        labels=labels_for(given.commit),
    )
    names = from_metadata_action(given.bake_files, ours)
    if given.push and not names.refs:
        raise InputError(
            "--push: neither the CI's variables nor git say which commit this is, so that no tag is certain",
            "let git open the repository (git config --global --add safe.directory FOLDER), or pass --image NAME:TAG",
        )
    return ChosenNames(names=names, warnings=warnings)


def _choose_tags(given: NamingInput) -> tuple[str, ...]:
    """Return the tags. An image that is not pushed is `latest` in the local engine, too."""
    if given.tag:
        return (given.tag,)
    tags = tags_for(given.trigger, given.default_branch, given.commit)
    if given.push:
        return tags
    return tuple(dict.fromkeys((LATEST, *tags)))


def _compare_with_latest(
    commit: CommitInfo, read_labels: ReadLabels, is_ancestor: IsAncestor
) -> tuple[CommitOrder, tuple[str, ...]]:
    """Return where this commit is, seen from the commit of the registry's `latest`, and the warning to give."""
    theirs = tagged_commit(read_labels(LATEST))
    if commit.revision is None or theirs is None:
        return CommitOrder.UNKNOWN, ()
    ours = TaggedCommit(revision=commit.revision, created=commit.created)
    order = order_commits(ours, theirs, is_ancestor)
    if order is CommitOrder.OLDER:
        return order, (older_warning(ours, theirs),)
    if order is CommitOrder.UNKNOWN:
        return order, (unknown_order_warning(ours, theirs),)
    return order, ()
