"""Whose caches a build reads and writes, and the tags they have in the image's repository.

The default branch has the plain tags `cache-STAGE` and `cache`; any other scope has `cache_SCOPE-STAGE` and
`cache_SCOPE`. A scope's part of the tag holds no hyphen, so that what follows the first one is the stage. It ends in
a hash of the exact name, so that two branches never share a tag.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# opencontainers/distribution-spec, "Pulling manifests": a tag is at most 128 characters of [a-zA-Z0-9._-]
_MAX_TAG = 128


@dataclass(frozen=True)
class Scope:
    """The caches of one branch or pull request; `name` is None for the default branch's."""

    name: str | None = None

    @property
    def suffix(self) -> str:
        """What the scope adds to `cache` in each of its tags."""
        if self.name is None:
            return ""
        readable = re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")[:40]
        return f"_{readable}.{_digest(self.name)}"

    @property
    def composed_tag(self) -> str:
        return f"cache{self.suffix}"

    def stage_tag(self, stage: str) -> str:
        return f"cache{self.suffix}-{short(stage)}"


DEFAULT = Scope()


@dataclass(frozen=True, kw_only=True)
class Access:
    """What one build may do: the scopes it reads, nearest first, and the one it writes, if any."""

    reads: tuple[Scope, ...]
    writes: Scope | None


def for_branch(branch: str | None, default_branch: str, *, push: bool) -> Access:
    """A build of a branch reads its own scope, then the default branch's, and writes its own if it pushes.

    `branch` is None on a detached HEAD, which has no scope of its own.
    """
    if branch == default_branch:
        return Access(reads=(DEFAULT,), writes=DEFAULT if push else None)
    if branch is None:
        return Access(reads=(DEFAULT,), writes=None)
    own = Scope(branch)
    return Access(reads=(own, DEFAULT), writes=own if push else None)


def short(stage: str) -> str:
    """A stage's name as the end of a tag: itself, or cut and hashed where a tag could not hold it."""
    room = _MAX_TAG - len("cache_") - 40 - len(".0123456789-")
    return stage if len(stage) <= room else f"{stage[: room - 11]}.{_digest(stage)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:10]
