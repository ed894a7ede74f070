"""Read what a repository holds: its versions, their manifests, and the configs of its caches. Stores are passed in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from stagebake.cache.backends import CacheRepository, TaggedVersion, VersionStore
from stagebake.cache.cache_config import DEFAULT_TIME, CacheConfig, parse_cache
from stagebake.cache.manifest import InvalidCache
from stagebake.errors import RegistryError
from stagebake.inventory.contents import Contents, Kind, StoredManifest, describe_manifest


def read_contents(store: VersionStore, repository: CacheRepository) -> Contents:
    """Return every manifest that the store lists, and those below an index. Raises RegistryError.

    One manifest that cannot be read is an error: whether it names another one would not be known. A version that
    another process deletes meanwhile is left out.
    """
    versions = {version.digest: version for version in store.list_versions()}
    manifests: dict[str, StoredManifest] = {}
    asked: set[str] = set()
    wanted: Collection[str] = versions.keys()
    while wanted:
        asked.update(wanted)
        for digest, content in _read_manifests(repository, wanted).items():
            version = versions.get(digest, TaggedVersion(key="", tags=frozenset(), digest=digest))
            manifests[digest] = describe_manifest(version, content)
        named = {digest for manifest in manifests.values() for digest in manifest.below}
        wanted = named - asked
    return Contents(manifests=manifests, lists_untagged=store.lists_untagged)


def _read_manifests(repository: CacheRepository, digests: Iterable[str]) -> dict[str, bytes]:
    """Return the manifests that exist. Raises RegistryError."""
    manifests: dict[str, bytes] = {}
    for digest, answer in repository.read_manifests(digests).items():
        if isinstance(answer, RegistryError):
            raise answer
        if answer is not None:
            manifests[digest] = answer
    return manifests


def read_times(repository: CacheRepository, manifests: Iterable[StoredManifest]) -> dict[str, float]:
    """Return when the newest result of each cache was created, in seconds since 1970, by the cache's digest.

    A cache that cannot be read, or whose results have no time, is missing.
    """
    times: dict[str, float] = {}
    for digest, cache in read_cache_configs(repository, manifests).items():
        newest = max(
            (result.created_at for record in cache.records.values() for result in record.results), default=None
        )
        if newest is not None and newest > DEFAULT_TIME:
            times[digest] = newest.timestamp()
    return times


def read_cache_configs(repository: CacheRepository, manifests: Iterable[StoredManifest]) -> Mapping[str, CacheConfig]:
    """Return the caches that can be read, by the digest of their manifest."""
    stored = {manifest.digest: manifest for manifest in manifests if manifest.kind is Kind.CACHE}
    documents = repository.read_manifests(stored)
    configs = repository.read_blobs(manifest.config for manifest in stored.values())
    caches: dict[str, CacheConfig] = {}
    for digest, manifest in stored.items():
        document, config = documents[digest], configs[manifest.config]
        if isinstance(document, bytes) and isinstance(config, bytes):
            try:
                caches[digest] = parse_cache(document, config)
            except InvalidCache:
                continue
    return caches
