"""Takes the caches of one branch or pull request out of the registry: chooses, then deletes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from stagebake.cache.scopes import DEFAULT_SCOPE, Scope

_PULL_REQUEST = re.compile(r"pr-\d+")


@dataclass(frozen=True, kw_only=True)
class TaggedVersion:
    """What a registry keeps under one digest, with all the tags that name it; `key` is what its store deletes it by."""

    key: str
    tags: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class KeptVersion:
    """A version that stays although the scope names it."""

    tags: frozenset[str]
    why: str


@dataclass(frozen=True, kw_only=True)
class PurgeResult:
    """The tags that are gone, and what had to stay."""

    tags: tuple[str, ...]
    kept: tuple[KeptVersion, ...] = ()


class VersionStore(Protocol):
    """What this module asks of a registry; `registry.Registry` and `packages.Packages` are two."""

    def versions(self) -> Iterable[TaggedVersion]: ...

    def delete(self, version: TaggedVersion) -> str | None:
        """Deletes a version and all its tags; returns why it had to stay, None where it is gone."""


def named_scope(name: str, default_branch: str) -> Scope:
    """The scope that a person means: `pr-7` is a pull request, anything else a branch."""
    if _PULL_REQUEST.fullmatch(name):
        return Scope(name, pull_request=True)
    return DEFAULT_SCOPE if name == default_branch else Scope(name)


def purge_scope(store: VersionStore, scope: Scope, *, dry_run: bool = False) -> PurgeResult:
    """Deletes the caches of `scope`, of all stages and generations, and nothing that another tag names.

    With `dry_run` nothing is deleted, and the answer is what would be. Raises RegistryError.
    """
    gone: list[str] = []
    kept: list[KeptVersion] = []
    for version in store.versions():
        if not (own := frozenset(tag for tag in version.tags if _is_of(tag, scope))):
            continue
        if others := sorted(version.tags - own):
            kept.append(KeptVersion(tags=own, why=f"{', '.join(others)} names the same"))
        elif why := None if dry_run else store.delete(version):
            kept.append(KeptVersion(tags=own, why=why))
        else:
            gone += own
    return PurgeResult(tags=tuple(sorted(gone)), kept=tuple(kept))


def _is_of(tag: str, scope: Scope) -> bool:
    """Whether a tag is a cache of the scope, of whatever stage: the Dockerfile may have had others."""
    return re.fullmatch(rf"cache(\d|\.ledger|\.mount)?{re.escape(scope.suffix)}(-.+)?", tag) is not None
