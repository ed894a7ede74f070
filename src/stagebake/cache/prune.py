"""Delete the caches of one branch or pull request from a store. The store is passed in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stagebake.cache.backends import TaggedVersion, VersionStore
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope

_PULL_REQUEST = re.compile(r"pr-\d+")


@dataclass(frozen=True, kw_only=True)
class KeptVersion:
    """Version that is not deleted although it has tags of the scope, and the reason."""

    tags: frozenset[str]
    why: str


@dataclass(frozen=True, kw_only=True)
class PurgeResult:
    """Deleted tags, and the versions that were kept."""

    tags: tuple[str, ...]
    kept: tuple[KeptVersion, ...] = ()


def named_scope(name: str, default_branch: str) -> Scope:
    """Return the scope that a user names: `pr-7` is a pull request, anything else a branch."""
    if _PULL_REQUEST.fullmatch(name):
        return Scope(name, pull_request=True)
    if name == default_branch:
        return DEFAULT_SCOPE
    return Scope(name)


def purge_scope(store: VersionStore, scope: Scope, *, dry_run: bool = False) -> PurgeResult:
    """Delete the caches of `scope`, of all stages and generations. Keep versions that other tags name too.

    With `dry_run`, return what would be deleted and delete nothing. Raises RegistryError.
    """
    deleted: list[str] = []
    kept: list[KeptVersion] = []
    for version in store.list_versions():
        tags = frozenset(tag for tag in version.tags if _belongs_to(scope, tag))
        if not tags:
            continue
        reason = _keep_reason(version, tags)
        if reason is None and not dry_run:
            reason = store.delete_version(version)
        if reason is None:
            deleted += tags
        else:
            kept.append(KeptVersion(tags=tags, why=reason))
    return PurgeResult(tags=tuple(sorted(deleted)), kept=tuple(kept))


def _keep_reason(version: TaggedVersion, scope_tags: frozenset[str]) -> str | None:
    """Return the reason to keep a version: deleting it would delete its other tags too."""
    other_tags = sorted(version.tags - scope_tags)
    return f"also tagged {', '.join(other_tags)}" if other_tags else None


def _belongs_to(scope: Scope, tag: str) -> bool:
    """Tell whether a tag is a cache of the scope, of any stage: the Dockerfile may have had others."""
    pattern = rf"cache(\d|\.ledger|\.mount)?{re.escape(scope.suffix)}(-.+)?"
    return re.fullmatch(pattern, tag) is not None
