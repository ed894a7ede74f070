"""Decide which caches a build reads and writes, and which tags they have in the image's repository. Pure.

The default branch has the plain tags `cache-STAGE` and `cache`; every other scope has `cache_SCOPE-STAGE` and
`cache_SCOPE`. SCOPE contains no hyphen, so the text after the first hyphen is the stage. SCOPE ends in a hash of the
exact name, so two branches never share a tag. Older results of a stage are `cache1-STAGE`, `cache2-STAGE`, and so on.
Only two kinds of tags have a dot after `cache`: the ledger `cache.ledger`, and `cache.mount-NAME` (in a scope
`cache.mount_SCOPE-NAME`) for the content of a cache mount.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# Results of each stage that stay available: the current one and the ones before it
GENERATIONS = 3

# opencontainers/distribution-spec, "Pulling manifests": a tag is at most 128 characters of [a-zA-Z0-9._-]
_MAX_TAG = 128
_MAX_SCOPE = 40


@dataclass(frozen=True)
class Scope:
    """Caches of one branch or, with `pull_request`, of one pull request. `name` is None for the default branch."""

    name: str | None = None
    pull_request: bool = False

    @property
    def suffix(self) -> str:
        """Return the part that the scope adds to `cache` in each of its tags; "" for the default branch."""
        if self.name is None:
            return ""
        kind = "pr" if self.pull_request else "branch"
        readable = re.sub(r"[^a-z0-9]+", "_", self.name.lower())
        shortened = readable.strip("_")[:_MAX_SCOPE]
        return f"_{shortened}.{_short_hash(f'{kind}:{self.name}')}"

    @property
    def merged_tag(self) -> str:
        return f"cache{self.suffix}"

    @property
    def ledger_tag(self) -> str:
        return f"cache.ledger{self.suffix}"

    def stage_tag(self, stage: str, generation: int = 0) -> str:
        """Return the tag of a stage's cache; generation 0 is the current one, 1 the one before it."""
        number = str(generation) if generation else ""
        return f"cache{number}{self.suffix}-{short_stage_name(stage)}"

    def mount_tag(self, name: str) -> str:
        """Return the tag of a cache mount's content; `name` has at most 64 characters of [A-Za-z0-9_.]."""
        return f"cache.mount{self.suffix}-{name}"


DEFAULT_SCOPE = Scope()


@dataclass(frozen=True, kw_only=True)
class Access:
    """Scopes that a build reads, nearest first, and the scope that it writes, if any."""

    reads: tuple[Scope, ...]
    writes: Scope | None


READ_DEFAULT = Access(reads=(DEFAULT_SCOPE,), writes=None)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Event that a build runs for: a branch, a pull request, a tag, or none of them (a detached HEAD).

    `trusted` is False where the code may come from somebody without write access: a pull request from a fork, or an
    event that can be triggered from one.
    """

    branch: str | None = None
    pull_request: int | None = None
    tag: str | None = None
    trusted: bool = True


def access_for(trigger: Trigger, default_branch: str, *, push: bool) -> Access:
    """Return the scopes of a build.

    A branch, or a pull request of the same repository, reads its own scope, then the default branch's, and writes its
    own where it pushes. An untrusted trigger and a tag read the default branch's scope and write nothing. So caches
    written by untrusted code are never read.
    """
    if not trigger.trusted:
        return READ_DEFAULT
    if trigger.pull_request is not None:
        return _own_access(Scope(f"pr-{trigger.pull_request}", pull_request=True), push)
    if trigger.branch is None:
        return READ_DEFAULT
    if trigger.branch == default_branch:
        return _own_access(DEFAULT_SCOPE, push)
    return _own_access(Scope(trigger.branch), push)


def short_stage_name(stage: str) -> str:
    """Return a stage's name as the end of a tag; a long name is cut and gets a hash."""
    longest_prefix = len("cache9_-") + _MAX_SCOPE + len(".0123456789")
    room = _MAX_TAG - longest_prefix
    if len(stage) <= room:
        return stage
    return f"{stage[: room - 11]}.{_short_hash(stage)}"


def _own_access(scope: Scope, push: bool) -> Access:
    reads = (DEFAULT_SCOPE,) if scope == DEFAULT_SCOPE else (scope, DEFAULT_SCOPE)
    return Access(reads=reads, writes=scope if push else None)


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:10]
