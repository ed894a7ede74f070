"""Delete caches as a plan says, while builds may be running. Stores are passed in."""

from __future__ import annotations

from dataclasses import dataclass

from stagebake.cache.backends import CacheRepository, TaggedVersion, VersionStore
from stagebake.cache.cache_config import serialize_cache
from stagebake.cache.manifest import sha256_digest
from stagebake.cache.merge import drop_blobs
from stagebake.errors import RegistryError
from stagebake.inventory.contents import StoredManifest
from stagebake.inventory.deletion import Deletion, PrunePlan, Rewrite
from stagebake.inventory.read_contents import read_cache_configs


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """Deletions that were made, and those that were not, each with the reason. `failure` ended it early, if any."""

    deleted: tuple[Deletion, ...]
    kept: tuple[Deletion, ...] = ()
    failure: RegistryError | None = None


def prune_caches(store: VersionStore, repository: CacheRepository, plan: PrunePlan) -> PruneResult:
    """Push merged caches without the results that are given up, then delete.

    The versions are listed again first: one that a build has tagged or pushed since the plan stays.
    """
    deleted: list[Deletion] = []
    kept: list[Deletion] = []
    try:
        for rewrite in plan.rewrites:
            _rewrite_merged(repository, rewrite)
        current = {version.digest: version for version in store.list_versions()}
        for deletion in plan.deletions:
            version = current.get(deletion.manifest.digest)
            if version is None:
                continue  # another process has deleted it
            why = _find_change(deletion.manifest, version) or store.delete_version(version)
            if why is None:
                deleted.append(deletion)
            else:
                kept.append(Deletion(manifest=deletion.manifest, reason=why))
    except RegistryError as error:
        return PruneResult(deleted=tuple(deleted), kept=tuple(kept), failure=error)
    return PruneResult(deleted=tuple(deleted), kept=tuple(kept))


def _find_change(planned: StoredManifest, current: TaggedVersion) -> str | None:
    """Return what a build has done with a version since the plan; None for nothing."""
    if current.tags != planned.tags:
        return "a build has changed its tags"
    if current.touched != planned.touched:
        return "a build has pushed it again"
    return None


def _rewrite_merged(repository: CacheRepository, rewrite: Rewrite) -> None:
    """Push a merged cache without some results, unless a build has replaced it since the plan. Raises RegistryError."""
    cache = read_cache_configs(repository, [rewrite.manifest]).get(rewrite.manifest.digest)
    if cache is None:
        return  # the next build that merges repairs it
    document = serialize_cache(drop_blobs(cache, rewrite.blobs))
    stored = repository.read_manifest(rewrite.tag)
    if stored is not None and sha256_digest(stored) == rewrite.manifest.digest:
        repository.push_manifest(document, rewrite.tag)
