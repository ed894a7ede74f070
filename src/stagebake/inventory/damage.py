"""Find what is broken in the caches of a repository, and what to push or delete to repair it.

The repository is passed in. A cache is broken where a build would drop a part of it (`cache.cache_refs`), or where its
bytes differ from their digest, which a build notices only when it pulls them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from stagebake.cache.backends import SIZE_UNKNOWN, CacheRepository, TaggedVersion
from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.evidence import Evidence, available_evidence, collect_evidence
from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, sha256_digest
from stagebake.cache.merge import drop_blobs, merge_caches
from stagebake.errors import CorruptBlob, RegistryError
from stagebake.inventory.cache_tags import CacheTag, TagKind, parse_cache_tag
from stagebake.inventory.contents import Kind, StoredManifest, describe_manifest

_KINDS = {
    TagKind.STAGE: Kind.CACHE,
    TagKind.MERGED: Kind.CACHE,
    TagKind.LEDGER: Kind.LEDGER,
    TagKind.MOUNT: Kind.MOUNT,
}
# OCI and Docker layers, each with any compression (image-spec, media-types.md)
_LAYER_TYPES = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.stagebake.",
)

# Evidence of a cache that cannot be read: no other cache has it
_UNKNOWN_EVIDENCE: Evidence = frozenset({"unknown"})

BlobHashes = Mapping[str, "str | RegistryError | None"]
HashBlobs = Callable[[Iterable[str]], BlobHashes]
"""Read blobs and return the digest of what they hold; None for a missing one."""


class DamageKind(Enum):
    """What is wrong with a tag or a blob."""

    DANGLING = "its manifest is missing"
    OTHER_CONTENT = "it holds no cache"
    INVALID = "it is not valid"
    MISSING = "is missing"
    WRONG_SIZE = "has another size"
    WRONG_BYTES = "has other bytes"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Problem of a tag, with the digest of the blob that it is about, "" for the tag itself. `detail` may be ""."""

    tag: str
    kind: DamageKind
    blob: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedTag:
    """Tag of a cache with what was read of it. `cache` is what is left of a cache without its broken blobs.

    `whole` is the cache as it was saved; both are None where nothing can be read.
    """

    tag: CacheTag
    manifest: StoredManifest | None
    whole: CacheConfig | None = None
    cache: CacheConfig | None = None


@dataclass(frozen=True, kw_only=True)
class CacheCheck:
    """Result of a check. `blobs` counts those that were checked, `bytes` is their size.

    `unread` are the errors of requests that failed: what they asked for is not known to be broken.
    """

    tags: tuple[CheckedTag, ...]
    damages: tuple[Damage, ...]
    blobs: int = 0
    bytes: int = 0
    unread: tuple[str, ...] = ()

    @property
    def damaged_tags(self) -> frozenset[str]:
        """Return the tags with a problem."""
        return frozenset(damage.tag for damage in self.damages)


def check_caches(repository: CacheRepository, tags: Iterable[str], hash_blobs: HashBlobs | None = None) -> CacheCheck:
    """Check every tag of a cache among `tags`: its manifest, its config, and its blobs.

    `hash_blobs` reads all blobs; without it, only configs are read, and of the others the size is asked for.
    """
    cache_tags = [cache_tag for tag in sorted(tags) if (cache_tag := parse_cache_tag(tag))]
    check = _Check(repository=repository)
    stored = check.read_manifests(cache_tags)
    whole = check.read_caches(stored)
    sizes = {digest: size for manifest in stored.values() for digest, size in manifest.blobs.items()}
    broken = check.find_broken_blobs(sizes, hash_blobs)
    checked = []
    for cache_tag in cache_tags:
        manifest = stored.get(cache_tag.tag)
        for blob, kind in broken.items():
            if manifest is not None and blob in manifest.blobs:
                check.damages.append(Damage(tag=cache_tag.tag, kind=kind, blob=blob))
        cache = whole.get(cache_tag.tag)
        rest = drop_blobs(cache, frozenset(broken)) if cache else None
        checked.append(CheckedTag(tag=cache_tag, manifest=manifest, whole=cache, cache=rest))
    return CacheCheck(
        tags=tuple(checked),
        damages=tuple(sorted(set(check.damages), key=lambda damage: (damage.tag, damage.blob))),
        blobs=len(sizes),
        bytes=sum(sizes.values()),
        unread=tuple(dict.fromkeys(check.unread)),
    )


@dataclass(kw_only=True)
class _Check:
    """State of one check: the damages and the failed requests so far."""

    repository: CacheRepository
    damages: list[Damage] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)

    def read_manifests(self, cache_tags: Collection[CacheTag]) -> dict[str, StoredManifest]:
        """Return the manifest of each tag that has one of the right kind."""
        answers = self.repository.read_manifests(cache_tag.tag for cache_tag in cache_tags)
        stored: dict[str, StoredManifest] = {}
        for cache_tag in cache_tags:
            answer = answers[cache_tag.tag]
            if isinstance(answer, RegistryError):
                self.unread.append(str(answer))
            elif answer is None:
                self.damages.append(Damage(tag=cache_tag.tag, kind=DamageKind.DANGLING))
            else:
                digest = sha256_digest(answer)
                version = TaggedVersion(key=digest, tags=frozenset({cache_tag.tag}), digest=digest)
                manifest = describe_manifest(version, answer)
                if manifest.kind is not _KINDS[cache_tag.kind] or not manifest.has_layer_types(_LAYER_TYPES):
                    self.damages.append(Damage(tag=cache_tag.tag, kind=DamageKind.OTHER_CONTENT))
                    continue
                stored[cache_tag.tag] = manifest
                self.documents[cache_tag.tag] = answer
        return stored

    def read_caches(self, stored: Mapping[str, StoredManifest]) -> dict[str, CacheConfig]:
        """Return the caches whose config BuildKit accepts."""
        caches = {tag: manifest for tag, manifest in stored.items() if manifest.kind is Kind.CACHE}
        configs = self.repository.read_blobs(manifest.config for manifest in caches.values())
        parsed: dict[str, CacheConfig] = {}
        for tag, manifest in caches.items():
            config = configs[manifest.config]
            if isinstance(config, CorruptBlob):
                self.damages.append(Damage(tag=tag, kind=DamageKind.WRONG_BYTES, blob=manifest.config))
            if not isinstance(config, bytes):
                continue  # find_broken_blobs finds the other reasons
            try:
                parsed[tag] = parse_cache(self.documents[tag], config)
            except InvalidCache as error:
                self.damages.append(Damage(tag=tag, kind=DamageKind.INVALID, detail=str(error)))
        return parsed

    def find_broken_blobs(self, sizes: Mapping[str, int], hash_blobs: HashBlobs | None) -> dict[str, DamageKind]:
        """Return what is wrong with which blobs, whose right sizes in bytes are given."""
        broken: dict[str, DamageKind] = {}
        for blob, size in self.repository.read_blob_sizes(sizes).items():
            if isinstance(size, RegistryError):
                self.unread.append(str(size))
            elif size is None:
                broken[blob] = DamageKind.MISSING
            elif size not in (sizes[blob], SIZE_UNKNOWN):
                broken[blob] = DamageKind.WRONG_SIZE
        if hash_blobs is not None:
            rest = [blob for blob in sizes if blob not in broken]
            broken |= self._compare_hashes(hash_blobs(rest))
        return broken

    def _compare_hashes(self, hashes: BlobHashes) -> dict[str, DamageKind]:
        broken: dict[str, DamageKind] = {}
        for blob, found in hashes.items():
            if isinstance(found, RegistryError) and not isinstance(found, CorruptBlob):
                self.unread.append(str(found))
            elif found is None:
                broken[blob] = DamageKind.MISSING
            elif found != blob:
                broken[blob] = DamageKind.WRONG_BYTES
        return broken


def find_lost_stages(check: CacheCheck) -> dict[str, tuple[str, ...]]:
    """Return the stages that a build with unchanged inputs cannot restore completely, for the suffix of each scope.

    These are the stages whose current cache holds something that no intact cache of the scope or of the default branch
    holds.
    """
    lost: dict[str, tuple[str, ...]] = {}
    for suffix in sorted({checked.tag.suffix for checked in check.tags}):
        caches = list(_stage_caches(check, suffix))
        before = available_evidence(checked.whole for checked in caches if checked.whole)
        now = available_evidence(checked.cache for checked in caches if checked.cache)
        stages = []
        for checked in caches:
            expected = _expected_evidence(check, checked, before)
            was_available = checked.whole is None or expected <= before
            is_current = checked.tag.generation == 0 and checked.tag.suffix == suffix
            if is_current and was_available and not expected <= now:
                stages.append(checked.tag.name)
        if stages:
            lost[suffix] = tuple(stages)
    return lost


def _expected_evidence(check: CacheCheck, checked: CheckedTag, readable: Evidence) -> Evidence:
    """Return what a stage's cache held; where it cannot be read, what it alone gave the merged cache of its scope.

    `readable` is what the caches that can be read held.
    """
    if checked.whole is not None:
        return collect_evidence(checked.whole)
    for other in check.tags:
        is_merged = other.tag.kind is TagKind.MERGED and other.tag.suffix == checked.tag.suffix
        if is_merged and other.whole is not None:
            return collect_evidence(other.whole) - readable
    return _UNKNOWN_EVIDENCE


def _stage_caches(check: CacheCheck, suffix: str) -> Iterator[CheckedTag]:
    """Yield the stage caches that a build in a scope reads: its own and the default branch's, newest first."""
    stages = [checked for checked in check.tags if checked.tag.kind is TagKind.STAGE]
    for wanted in dict.fromkeys((suffix, "")):
        own = [checked for checked in stages if checked.tag.suffix == wanted]
        yield from sorted(own, key=lambda checked: checked.tag.generation)


def plan_repairs(check: CacheCheck) -> dict[str, ManifestAndConfig | None]:
    """Return what to push under each damaged tag; None for a ledger or a mount, which is deleted.

    A broken cache is replaced by what is left of it. Without a rest, a stage gets its next older result, or an empty
    cache until it runs. A tag that holds something else is left alone: it may be an image.
    """
    others = {damage.tag for damage in check.damages if damage.kind is DamageKind.OTHER_CONTENT}
    repairs: dict[str, ManifestAndConfig | None] = {}
    for checked in check.tags:
        tag = checked.tag
        if tag.tag not in check.damaged_tags or tag.tag in others:
            continue
        if tag.kind is TagKind.MERGED:
            repairs[tag.tag] = serialize_cache(_merge_rest(check, checked))
        elif tag.kind is TagKind.STAGE:
            repairs[tag.tag] = serialize_cache(_find_rest(check, checked))
        else:
            repairs[tag.tag] = None
    return repairs


def _find_rest(check: CacheCheck, broken: CheckedTag) -> CacheConfig:
    """Return what is left of a stage's cache, else of an older one, else an empty cache."""
    candidates = [broken]
    for checked in _stage_caches(check, broken.tag.suffix):
        same_scope = checked.tag.suffix == broken.tag.suffix
        if same_scope and checked.tag.name == broken.tag.name and checked.tag.generation > broken.tag.generation:
            candidates.append(checked)
    rests = [checked.cache for checked in candidates if checked.cache and checked.cache.records]
    return rests[0] if rests else CacheConfig()


def _merge_rest(check: CacheCheck, merged: CheckedTag) -> CacheConfig:
    """Return what is left of a merged cache, or the stage caches merged again where it cannot be read."""
    if merged.cache is not None:
        return merged.cache
    return merge_caches(checked.cache for checked in _stage_caches(check, merged.tag.suffix) if checked.cache)
