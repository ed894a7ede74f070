"""Test which versions of an image are deleted with a scope."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from stagebake.cache.backends import TaggedVersion
from stagebake.cache.prune import KeptVersion, PurgeResult, named_scope, purge_scope
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope

SEVEN = Scope("pr-7", pull_request=True)


@dataclass
class MemoryStore:
    """Store with these versions; it refuses to delete those with a tag in `refused`."""

    versions: list[TaggedVersion]
    refused: frozenset[str] = frozenset()
    lists_untagged: bool = False
    deleted: list[str] = field(default_factory=list)

    def list_versions(self) -> list[TaggedVersion]:
        return self.versions

    def delete_version(self, version: TaggedVersion) -> str | None:
        if version.tags & self.refused:
            return "refused"
        self.deleted.append(version.key)
        return None


def build_store(*tags: str, refused: frozenset[str] = frozenset()) -> MemoryStore:
    """Return a store with one version for each tag."""
    versions = [TaggedVersion(key=tag, tags=frozenset({tag})) for tag in tags]
    return MemoryStore(versions, refused)


@pytest.mark.parametrize(
    ("name", "scope"),
    [("pr-7", SEVEN), ("main", DEFAULT_SCOPE), ("feature/pr-7", Scope("feature/pr-7")), ("pr-x", Scope("pr-x"))],
)
def test_named_scope_of_user_is_pull_request_default_or_branch(name: str, scope: Scope) -> None:
    assert named_scope(name, "main") == scope


def test_purge_scope_deletes_every_kind_of_its_tags() -> None:
    own = (
        SEVEN.merged_tag,
        SEVEN.stage_tag("base"),
        SEVEN.stage_tag("base", 2),
        SEVEN.ledger_tag,
        SEVEN.mount_tag("npm.0123456789"),
    )
    others = ("cache", "cache-base", Scope("pr-70", pull_request=True).merged_tag, Scope("pr-7").merged_tag, "pr-7")
    store = build_store(*own, *others)
    assert purge_scope(store, SEVEN) == PurgeResult(tags=tuple(sorted(own)))
    assert sorted(store.deleted) == sorted(own)


def test_purge_scope_refused_version_is_kept_with_the_reason() -> None:
    tag = SEVEN.merged_tag
    result = purge_scope(build_store(tag, refused=frozenset({tag})), SEVEN)
    assert result == PurgeResult(tags=(), kept=(KeptVersion(tags=frozenset({tag}), why="refused"),))


def test_purge_scope_version_with_other_tags_is_kept() -> None:
    version = TaggedVersion(key="1", tags=frozenset({SEVEN.merged_tag, "b", "a"}))
    store = MemoryStore([version])
    (kept,) = purge_scope(store, SEVEN).kept
    assert kept == KeptVersion(tags=frozenset({SEVEN.merged_tag}), why="also tagged a, b")
    assert store.deleted == []


def test_purge_scope_dry_run_deletes_nothing() -> None:
    store = build_store(SEVEN.merged_tag)
    assert purge_scope(store, SEVEN, dry_run=True) == PurgeResult(tags=(SEVEN.merged_tag,))
    assert store.deleted == []
