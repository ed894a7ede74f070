"""Test which caches a build keeps: within BuildKit's size limit, and without broken blobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stagebake.cache.cache_config import CacheConfig
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.cache.stage_caches import CacheState, StageCache, StageCaches, drop_broken_blobs
from tests.support.caches import cache_of, digest, layer, record

BRANCH = Scope("feature")
LONG_PATH = f"/{'x' * 5_000}"


def build_cache(tag: str, steps: int, *, scope: Scope = DEFAULT_SCOPE, generation: int = 0) -> StageCache:
    """Return a cache of one stage; each step takes about 5,000 bytes of its config."""
    records = [record(f"source of {tag}", layer=0)]
    for number in range(steps):
        step = record(f"{tag} {number}", [0], layer=0)
        step["inputs"][0][0]["selector"] = LONG_PATH
        records.append(step)
    cache = cache_of(layer(f"blob of {tag}"), records=records)
    return StageCache(tag=tag, scope=scope, stage=tag, generation=generation, cache=cache)


def tags_within_limit(*caches: StageCache) -> list[str]:
    fitting = StageCaches(caches=caches).within_size_limit()
    return [stage_cache.tag for stage_cache in fitting.caches]


def test_within_size_limit_small_caches_stay_complete() -> None:
    stage_caches = StageCaches(caches=(build_cache("a", 10), build_cache("b", 10, generation=1)))
    assert stage_caches.within_size_limit() is stage_caches


def test_within_size_limit_older_generations_are_dropped_first() -> None:
    new = build_cache("new", 10)
    far = build_cache("far", 10, scope=BRANCH)
    old = build_cache("old", 250, generation=1)
    assert tags_within_limit(new, far, old) == ["new", "far"]


def test_within_size_limit_oldest_generation_is_dropped_before_newer_ones() -> None:
    new = build_cache("new", 10)
    old = build_cache("old", 10, generation=1)
    oldest = build_cache("oldest", 250, generation=2)
    assert tags_within_limit(new, old, oldest) == ["new", "old"]


def test_within_size_limit_farther_scopes_are_dropped_next() -> None:
    near = build_cache("near", 10, scope=BRANCH)
    far = build_cache("far", 250)
    assert tags_within_limit(near, far) == ["near"]


def test_within_size_limit_largest_cache_of_one_scope_is_dropped_last() -> None:
    """Drop the one stage that is too large and keep the others."""
    small = build_cache("small", 10)
    large = build_cache("large", 250)
    middle = build_cache("middle", 20)
    assert tags_within_limit(small, large, middle) == ["small", "middle"]


def test_within_size_limit_without_caches_stays_empty() -> None:
    assert tags_within_limit() == []


def drop_blob_of(tag: str, stage_caches: StageCaches) -> StageCaches:
    blobs = frozenset({digest(f"blob of {tag}")})
    return drop_broken_blobs(stage_caches, blobs, corrupt_blobs=blobs)


def test_drop_broken_blobs_changes_the_state_of_touched_caches_only() -> None:
    stage_caches = StageCaches(caches=(build_cache("a", 1), build_cache("b", 1)))
    remaining = drop_blob_of("a", stage_caches)
    states = {stage_cache.tag: stage_cache.state for stage_cache in remaining.caches}
    assert states == {"a": CacheState.PARTLY_DROPPED, "b": CacheState.INTACT}
    assert remaining.blob_sizes().keys() == {digest("blob of b")}
    assert remaining.healed_stages == ("a",)
    assert remaining.is_damaged(DEFAULT_SCOPE)


def test_without_caches_broken_refs_are_still_known() -> None:
    """Keep the broken refs, which are repaired although the build read nothing."""
    stage_caches = StageCaches(caches=(build_cache("a", 1), build_cache("b", 1)))
    emptied = drop_blob_of("a", stage_caches).without_caches("why")
    assert emptied.healed_stages == ("a",)
    assert emptied.merge_stages() is None
    assert emptied.warnings == ("why",)
    assert emptied.corrupt_blobs == {digest("blob of a")}


def test_drop_broken_blobs_merged_cache_is_dropped_as_a_whole() -> None:
    """Drop the cache with a warning: it is imported unchanged from the registry."""
    merged = replace(build_cache("cache", 1), stage=None)
    stage_caches = drop_blob_of("cache", StageCaches(caches=(merged,), merged_source="host/name@sha256:1"))
    assert stage_caches.merged_source is None
    assert stage_caches.corrupt_blobs == merged.cache.blob_sizes().keys(), "a rebuilt result must be another blob"
    assert stage_caches.caches == ()
    (warning,) = stage_caches.warnings
    assert "cache is left out" in warning
    assert digest("blob of cache") in warning


@pytest.mark.parametrize(
    ("state", "exists", "healed", "damaged"),
    [
        (CacheState.INTACT, True, (), False),
        (CacheState.PARTLY_DROPPED, True, ("a",), True),
        (CacheState.NOT_A_CACHE, False, (), True),
    ],
    ids=lambda value: value.name if isinstance(value, CacheState) else "",
)
def test_cache_state_decides_what_is_saved_and_repaired(
    state: CacheState, exists: bool, healed: tuple[str, ...], damaged: bool
) -> None:
    stage_cache = StageCache(tag="cache-a", scope=DEFAULT_SCOPE, cache=CacheConfig(), stage="a", state=state)
    stage_caches = StageCaches(caches=(stage_cache,))
    assert stage_caches.has_stage("a") == exists
    assert stage_caches.healed_stages == healed
    assert stage_caches.is_damaged(DEFAULT_SCOPE) == damaged


def test_merge_stages_given_stages_are_left_out() -> None:
    stage_caches = StageCaches(caches=(build_cache("a", 1), build_cache("b", 1)))
    without_a = stage_caches.merge_stages(leaving_out=frozenset({"a"}))
    assert without_a is not None
    assert without_a == StageCaches(caches=(build_cache("b", 1),)).merge_stages()
    assert stage_caches.merge_stages(leaving_out=frozenset({"a", "b"})) is None
