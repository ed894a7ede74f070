"""The tags and labels of an image: from what the build is for and the commit it is made of. Pure."""

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


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """What git says of the checked-out commit; None for what it does not know. `created` is RFC 3339."""

    revision: str | None = None
    created: str | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImageNames:
    """The full refs and the labels that an image gets. Raises InputError for a ref that may be a cache's."""

    refs: tuple[str, ...]
    labels: dict[str, str]

    def __post_init__(self) -> None:
        for ref in self.refs:
            if ref.rpartition(":")[2].startswith("cache"):
                raise InputError(f"{ref}: tags that begin with `cache` are the caches'", "give the image another tag")


def tags_for(trigger: Trigger, default_branch: str, commit: CommitInfo) -> tuple[str, ...]:
    """The tags of a pushed image: `latest` and `main-1a2b3c4`, `feature-x-1a2b3c4`, `pr-7`, `v1.2`.

    A tag that could be taken for a cache's is avoided.
    """
    short = commit.revision[:7] if commit.revision else None
    if trigger.pull_request is not None:
        return (f"pr-{trigger.pull_request}",)
    if trigger.tag is not None:
        return (_clean(trigger.tag),)
    if trigger.branch is None or short is None:
        return (short or "latest",)
    branch = f"{_clean(trigger.branch)[: _LONGEST - 8]}-{short}"
    return ("latest", branch) if trigger.branch == default_branch else (branch,)


def labels_for(commit: CommitInfo) -> dict[str, str]:
    """The labels of opencontainers/image-spec, annotations.md, for what is known. The same commit gives the same."""
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


def _clean(name: str) -> str:
    tag = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "image"
    return f"branch-{tag}"[:_LONGEST] if tag.startswith("cache") else tag[:_LONGEST]
