"""Choose the refs and labels of the image that a build pushes or loads."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stagebake.cli.command import Command
from stagebake.errors import InputError, RegistryError
from stagebake.files import read_text
from stagebake.project.commit_order import (
    CommitOrder,
    TaggedCommit,
    older_warning,
    order_commits,
    tagged_commit,
    unknown_order_warning,
)
from stagebake.project.image_tags import LATEST, CommitInfo, ImageNames, from_metadata_action, labels_for, tags_for
from stagebake.stores.image_labels import read_image_labels


@dataclass(frozen=True, kw_only=True)
class ChosenNames:
    """Refs and labels of the image, and warnings about tags that it does not get."""

    names: ImageNames
    warnings: tuple[str, ...] = ()


def choose_names(command: Command) -> ChosenNames:
    """Take the names from the files of --bake-file, from the setting `tag`, or from the trigger and the commit.

    Raises InputError for a push that has no certain tag.
    """
    texts = {str(path): read_text(path) for path in command.options.bake_file}
    commit = _find_commit(command)
    tags = _choose_tags(command, commit)
    warnings: tuple[str, ...] = ()
    if not texts and command.options.push and LATEST in tags and not command.settings.tag:
        tags, warnings = _protect_latest(command, commit, tags)
    image = command.settings.image or command.settings.local_image
    ours = ImageNames(refs=tuple(f"{image}:{tag}" for tag in tags), labels=labels_for(commit))
    names = from_metadata_action(texts, ours)
    if command.options.push and not names.refs:
        raise InputError(
            "--push: neither the CI's variables nor git say which commit this is, so that no tag is certain",
            "let git open the repository (git config --global --add safe.directory FOLDER), or pass --image NAME:TAG",
        )
    return ChosenNames(names=names, warnings=warnings)


def _find_commit(command: Command) -> CommitInfo:
    """Return the checked-out commit; what git does not know comes from the CI's variables."""
    commit = command.checkout.commit()
    run = command.ci_run
    if run is None:
        return commit
    return replace(commit, revision=commit.revision or run.revision, source=run.source or commit.source)


def _choose_tags(command: Command, commit: CommitInfo) -> tuple[str, ...]:
    """Return the tags. An image that is not pushed is `latest` in the local engine, too."""
    if command.settings.tag:
        return (command.settings.tag,)
    tags = tags_for(command.trigger, command.default_branch, commit)
    if command.options.push:
        return tags
    return tuple(dict.fromkeys((LATEST, *tags)))


def _protect_latest(
    command: Command, commit: CommitInfo, tags: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Leave out `latest` where the registry's is of a newer commit. Return the tags and the warnings."""
    if commit.revision is None or command.build_stores.images is None:
        return tags, ()
    try:
        theirs = tagged_commit(read_image_labels(command.build_stores.images, LATEST))
    except RegistryError:
        return tags, ()  # the build itself reports a registry that does not answer
    if theirs is None:
        return tags, ()
    ours = TaggedCommit(revision=commit.revision, created=commit.created)
    order = order_commits(ours, theirs, command.checkout.is_ancestor)
    if order is CommitOrder.OLDER:
        return tuple(tag for tag in tags if tag != LATEST), (older_warning(ours, theirs),)
    if order is CommitOrder.UNKNOWN:
        return tags, (unknown_order_warning(ours, theirs),)
    return tags, ()
