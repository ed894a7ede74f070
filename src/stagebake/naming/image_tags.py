"""Choose the tags and labels of an image from its trigger and its commit. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stagebake.cache.scopes import Trigger
from stagebake.errors import InputError

# opencontainers/distribution-spec, "Pulling manifests"
_LONGEST = 128

LATEST = "latest"
"""Tag of the default branch's newest image."""


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """Checked-out commit; None for what git does not know. `created` is in the format of RFC 3339."""

    revision: str | None = None
    created: str | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImageNames:
    """Full refs and labels of an image. Raises InputError for a ref that could be a cache's."""

    refs: tuple[str, ...]
    labels: dict[str, str]

    def __post_init__(self) -> None:
        for ref in self.refs:
            if ref.rpartition(":")[2].startswith("cache"):
                raise InputError(f"{ref}: tags that begin with `cache` are the caches'", "give the image another tag")


def tags_for(trigger: Trigger, default_branch: str, commit: CommitInfo) -> tuple[str, ...]:
    """Return the tags of a pushed image: `latest` and `main-1a2b3c4`, `feature-x-1a2b3c4`, `pr-7`, `v1.2`.

    Code whose branch is not certain gets the tag of its commit alone, `1a2b3c4`, and no tag where that is unknown.
    A tag that could be taken for a cache's, or for the default branch's `latest`, is avoided.
    """
    if trigger.pull_request is not None:
        return (f"pr-{trigger.pull_request}",)
    if trigger.trusted and trigger.tag is not None:
        return (_tag_of_git_tag(trigger.tag),)
    short_commit = commit.revision[:7] if commit.revision else None
    if trigger.trusted and trigger.branch is not None:
        branch_tags = (_branch_tag(trigger.branch, short_commit),)
        return (LATEST, *branch_tags) if trigger.branch == default_branch else branch_tags
    return (short_commit,) if short_commit else ()


def labels_for(commit: CommitInfo) -> dict[str, str]:
    """Return what is known as labels of opencontainers/image-spec, annotations.md. A commit has one set of labels."""
    known = {"source": commit.source, "revision": commit.revision, "created": commit.created}
    return {f"org.opencontainers.image.{key}": value for key, value in known.items() if value is not None}


def from_metadata_action(texts: Mapping[str, str], ours: ImageNames) -> ImageNames:
    """The tags and labels of bake files that docker/metadata-action wrote, path to text; `ours` for what none says.

    It writes the tags in one file and the labels in another. Raises InputError.
    """
    targets = [_metadata_target(text, path) for path, text in texts.items()]
    refs = tuple(ref for target in targets for ref in target.get("tags") or ())
    labels = {key: value for target in targets for key, value in (target.get("labels") or {}).items()}
    return ImageNames(refs=refs or ours.refs, labels=labels or ours.labels)


def _metadata_target(text: str, path: str) -> dict[str, Any]:
    try:
        target = json.loads(text)["target"]["docker-metadata-action"]
        return {**target}
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}:1: not a bake file of docker/metadata-action",
            "give the path in its output `bake-file-tags` or `bake-file-labels`",
        ) from None


def _branch_tag(branch: str, short_commit: str | None) -> str:
    """Return `main-1a2b3c4`; the branch alone in a repository that has no commit yet."""
    name = _clean_tag(branch)
    if short_commit is None:
        return _tag_of_git_tag(name)
    ending = f"-{short_commit}"
    return name[: _LONGEST - len(ending)] + ending


def _tag_of_git_tag(name: str) -> str:
    """Return the tag for a git tag or branch. One called `latest` does not make its image the default branch's."""
    tag = _clean_tag(name)
    return "tag-latest" if tag == LATEST else tag


def _clean_tag(name: str) -> str:
    """Replace what a tag cannot hold (distribution-spec: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})."""
    tag = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "image"
    if tag.startswith("cache"):
        tag = f"branch-{tag}"
    return tag[:_LONGEST]
