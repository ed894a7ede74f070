"""Represent the caches that a build reads: what each ref holds, what was dropped, what fits into one import. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from stagebake.cache.cache_config import CacheConfig, serialize_cache
from stagebake.cache.manifest import ManifestAndConfig
from stagebake.cache.merge import drop_blobs, merge_caches
from stagebake.cache.scopes import GENERATIONS, Scope


class CacheState(Enum):
    """Condition of the content of one ref."""

    INTACT = "intact"
    # Results that need a missing or corrupt blob were dropped
    PARTLY_DROPPED = "partly dropped"
    # The tag exists but holds no cache; the next save overwrites it
    NOT_A_CACHE = "not a cache"


@dataclass(frozen=True, kw_only=True)
class StageCache:
    """Content of one ref. `stage` is None for a merged cache, `digest` is that of the manifest in the registry."""

    tag: str
    scope: Scope
    cache: CacheConfig
    stage: str | None = None
    generation: int = 0
    state: CacheState = CacheState.INTACT
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class StageCaches:
    """Caches that a build may read, nearest scope first, and the problems with the others.

    `merged_source` imports a merged cache unchanged from the registry. `corrupt_blobs` are stored with wrong bytes:
    the registry does not accept them again, so a rebuilt result must become another blob. `unchecked_blobs` could not
    be checked; `read_failure` is the first error that may be temporary, "" without one.
    """

    caches: tuple[StageCache, ...] = ()
    merged_source: str | None = None
    corrupt_blobs: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    unchecked_blobs: frozenset[str] = frozenset()
    read_failure: str = ""

    @property
    def healed_stages(self) -> tuple[str, ...]:
        """Return the stages of which broken results were dropped."""
        stages: dict[str, None] = {}
        for stage_cache in self.caches:
            if stage_cache.state is CacheState.PARTLY_DROPPED and stage_cache.stage:
                stages[stage_cache.stage] = None
        return tuple(stages)

    def has_stage(self, stage: str) -> bool:
        """Tell whether a cache of the stage exists, even one without results: it is saved when the stage runs."""
        for stage_cache in self.caches:
            if stage_cache.state is not CacheState.NOT_A_CACHE and stage_cache.stage in (stage, None):
                return True
        return False

    def is_damaged(self, scope: Scope) -> bool:
        """Tell whether broken results were dropped, or a ref of this scope holds no cache."""
        for stage_cache in self.caches:
            if stage_cache.state is CacheState.NOT_A_CACHE and stage_cache.scope == scope:
                return True
        return bool(self.healed_stages)

    def blob_sizes(self) -> dict[str, int]:
        """Return digest and size in bytes of every blob."""
        sizes: dict[str, int] = {}
        for stage_cache in self.caches:
            sizes.update(stage_cache.cache.blob_sizes())
        return sizes

    def merge_stages(self, leaving_out: frozenset[str] = frozenset()) -> ManifestAndConfig | None:
        """Merge all caches but those of the given stages. Return None where no record remains."""
        return _merge_caches(stage_cache for stage_cache in self.caches if stage_cache.stage not in leaving_out)

    def within_size_limit(self) -> StageCaches:
        """Drop caches until the merged one has at most 1 MiB: BuildKit silently ignores a larger one."""
        for selection in self._shrinking_selections():
            document = _merge_caches(selection)
            if document is None or not document.too_large:
                break
        return self if selection is self.caches else replace(self, caches=selection)

    def _shrinking_selections(self) -> Iterator[tuple[StageCache, ...]]:
        """Yield ever fewer caches: all, without older generations, of the nearest scope, without the largest ones."""
        kept = self.caches
        yield kept
        for generations in range(GENERATIONS - 1, 0, -1):
            kept = tuple(stage_cache for stage_cache in self.caches if stage_cache.generation < generations)
            yield kept
        nearest = kept[0].scope
        kept = tuple(stage_cache for stage_cache in kept if stage_cache.scope == nearest)
        while kept:
            yield kept
            largest = max(kept, key=_config_size)
            kept = tuple(stage_cache for stage_cache in kept if stage_cache is not largest)
        yield ()

    def without_caches(self, warning: str) -> StageCaches:
        """Drop every cache. Keep the refs that are not intact, emptied, so that they are still repaired."""
        broken = []
        for stage_cache in self.caches:
            if stage_cache.state is not CacheState.INTACT:
                broken.append(replace(stage_cache, cache=CacheConfig()))
        return replace(
            self,
            caches=tuple(broken),
            merged_source=None,
            warnings=(*self.warnings, warning),
        )


def drop_broken_blobs(
    stage_caches: StageCaches,
    broken: frozenset[str],
    *,
    corrupt_blobs: frozenset[str],
) -> StageCaches:
    """Drop every result that needs one of the `broken` blobs, and remember which of them are corrupt.

    A merged cache is imported unchanged from the registry, so it is dropped as a whole.
    """
    corrupt_blobs |= stage_caches.corrupt_blobs
    kept: list[StageCache] = []
    touched_tags: list[str] = []
    for stage_cache in stage_caches.caches:
        if broken.isdisjoint(stage_cache.cache.blob_sizes()):
            kept.append(stage_cache)
            continue
        touched_tags.append(stage_cache.tag)
        remaining = drop_blobs(stage_cache.cache, broken)
        kept.append(replace(stage_cache, cache=remaining, state=CacheState.PARTLY_DROPPED))
    if touched_tags and stage_caches.merged_source is not None:
        blobs = ", ".join(sorted(broken & stage_caches.blob_sizes().keys()))
        warning = f"{', '.join(sorted(touched_tags))} is left out: broken in the registry: {blobs}"
        return replace(stage_caches.without_caches(warning), corrupt_blobs=corrupt_blobs)
    return replace(stage_caches, caches=tuple(kept), corrupt_blobs=corrupt_blobs)


def _merge_caches(stage_caches: Iterable[StageCache]) -> ManifestAndConfig | None:
    merged = merge_caches(stage_cache.cache for stage_cache in stage_caches)
    return serialize_cache(merged) if merged.records else None


def _config_size(stage_cache: StageCache) -> int:
    return len(serialize_cache(stage_cache.cache).config)
