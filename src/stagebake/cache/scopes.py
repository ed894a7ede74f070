"""Whose caches a build reads and writes, and the tags they have in the image's repository. Pure.

The default branch has the plain tags `cache-STAGE` and `cache`; any other scope has `cache_SCOPE-STAGE` and
`cache_SCOPE`. A scope's part of the tag holds no hyphen, so that what follows the first one is the stage. It ends in
a hash of the exact name, so that two branches never share a tag. Older results of a stage are `cache1-STAGE`,
`cache2-STAGE`, and so on. Only two kinds of tags have a dot after `cache`: `cache.ledger`, and `cache.mount-NAME` (in a
scope `cache.mount_SCOPE-NAME`), the content of a cache mount.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# How many results of each stage stay reachable: the current one and those before it
GENERATIONS = 3

# opencontainers/distribution-spec, "Pulling manifests": a tag is at most 128 characters of [a-zA-Z0-9._-]
_MAX_TAG = 128
_LONGEST_SCOPE = 40


@dataclass(frozen=True)
class Scope:
    """The caches of one branch (`pull_request` False) or pull request; `name` is None for the default branch's."""

    name: str | None = None
    pull_request: bool = False

    @property
    def suffix(self) -> str:
        """What the scope adds to `cache` in each of its tags."""
        if self.name is None:
            return ""
        kind = "pr" if self.pull_request else "branch"
        readable = re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")[:_LONGEST_SCOPE]
        return f"_{readable}.{_digest(f'{kind}:{self.name}')}"

    @property
    def merged_tag(self) -> str:
        return f"cache{self.suffix}"

    @property
    def ledger_tag(self) -> str:
        return f"cache.ledger{self.suffix}"

    def stage_tag(self, stage: str, generation: int = 0) -> str:
        """The tag of a stage's cache; generation 0 is the current one, 1 the one before it."""
        return f"cache{generation or ''}{self.suffix}-{short_stage_name(stage)}"

    def mount_tag(self, name: str) -> str:
        """The tag of a cache mount's content; `name` is of [A-Za-z0-9_.] and has at most 64 characters."""
        return f"cache.mount{self.suffix}-{name}"


DEFAULT_SCOPE = Scope()


@dataclass(frozen=True, kw_only=True)
class Access:
    """What one build may do: the scopes it reads, nearest first, and the one it writes, if any."""

    reads: tuple[Scope, ...]
    writes: Scope | None


READ_DEFAULT = Access(reads=(DEFAULT_SCOPE,), writes=None)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What a build runs for: a branch, a pull request, a tag, or none of them (a detached HEAD).

    `trusted` is False where the code may be a stranger's: a fork's pull request, and events that act for one.
    """

    branch: str | None = None
    pull_request: int | None = None
    tag: str | None = None
    trusted: bool = True


def access_for(trigger: Trigger, default_branch: str, *, push: bool) -> Access:
    """The scopes of a build.

    A branch or a pull request of the same repository reads its own, then the default branch's, and writes its own if
    it pushes. What is untrusted, and a tag, reads the default branch's and writes nothing. So nothing that a stranger
    wrote is ever read.
    """
    if not trigger.trusted:
        return READ_DEFAULT
    if trigger.pull_request is not None:
        return _own(Scope(f"pr-{trigger.pull_request}", pull_request=True), push)
    if trigger.branch is None:
        return READ_DEFAULT
    return _own(DEFAULT_SCOPE if trigger.branch == default_branch else Scope(trigger.branch), push)


def _own(scope: Scope, push: bool) -> Access:
    return Access(reads=tuple(dict.fromkeys((scope, DEFAULT_SCOPE))), writes=scope if push else None)


def short_stage_name(stage: str) -> str:
    """A stage's name as the end of a tag: itself, or cut and hashed where a tag could not hold it."""
    room = _MAX_TAG - len("cache9_-") - _LONGEST_SCOPE - len(".0123456789")
    return stage if len(stage) <= room else f"{stage[: room - 11]}.{_digest(stage)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:10]
