"""Test what is given up, and prove on random repositories that nothing else is deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stagebake.cache.cache_config import CacheConfig
from stagebake.cache.evidence import available_evidence, collect_evidence
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.inventory.cache_tags import TagKind, parse_cache_tag
from stagebake.inventory.deletion import GRACE_SECONDS, PrunePlan, PrunePolicy, plan_prune
from stagebake.inventory.prune_caches import prune_caches
from stagebake.inventory.read_contents import read_cache_configs, read_contents, read_times
from tests.support.memory_registry import MemoryRegistry, blobs_of
from tests.support.random_registry import DAY, FEATURE, SEVEN, RandomRegistry, merge_scope, random_registries

NOW = MemoryRegistry.now
KEEP_ALL = PrunePolicy(now=NOW)
OLD, NEW = "2026-11-20T10:00:00Z", "2027-01-15T08:00:00Z"

POLICIES = st.builds(
    PrunePolicy,
    now=st.just(NOW),
    keep=st.sampled_from([None, 1, 2, 3]),
    older_than=st.sampled_from([None, 2 * DAY, 30 * DAY]),
    gone=st.frozensets(st.sampled_from(["", FEATURE.suffix, SEVEN.suffix])),
    limit=st.sampled_from([None, 1, 500, 2000, 10**9]),
    grace=st.sampled_from([0.0, GRACE_SECONDS]),
)


def make_plan(registry: MemoryRegistry, policy: PrunePolicy = KEEP_ALL) -> PrunePlan:
    contents = read_contents(registry, registry)
    return plan_prune(contents, read_times(registry, contents.by_tag.values()), policy)


def prune(registry: MemoryRegistry, policy: PrunePolicy = KEEP_ALL) -> PrunePlan:
    """Plan, delete, and let the registry delete the blobs that nothing names."""
    plan = make_plan(registry, policy)
    registry.deleted.clear()
    result = prune_caches(registry, registry, plan)
    assert (result.kept, result.failure) == ((), None)
    assert {deletion.manifest.digest for deletion in result.deleted} == set(registry.deleted)
    registry.remove_unused_blobs()
    return plan


def read_caches(registry: MemoryRegistry) -> dict[str, CacheConfig]:
    """Return the cache of each tag that holds one."""
    contents = read_contents(registry, registry)
    caches = read_cache_configs(registry, contents.by_tag.values())
    return {tag: caches[digest] for tag, digest in registry.tags.items() if digest in caches}


def count_stored(registry: MemoryRegistry) -> int:
    contents = sum(len(content) for content in registry.manifests.values())
    return contents + sum(len(content) for content in registry.blobs.values())


def is_promised(tag: str, policy: PrunePolicy) -> bool:
    """Tell whether a policy without a limit and an age keeps a tag of a cache, by its name alone."""
    parsed = parse_cache_tag(tag)
    assert parsed is not None
    if parsed.suffix and parsed.suffix in policy.gone:
        return False
    return parsed.kind is not TagKind.STAGE or policy.keep is None or parsed.generation < policy.keep


@settings(
    max_examples=1000,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(made=random_registries(), policy=POLICIES)
def test_prune_random_registry_deletes_nothing_that_is_needed(made: RandomRegistry, policy: PrunePolicy) -> None:
    """Keep every image, platform, attestation, signature and foreign tag, every cache that the policy promises, whole,
    and in each merged cache what these caches promise. Free what the plan says.
    """
    registry = made.registry
    registry.remove_unused_blobs()
    tags, caches, size = dict(registry.tags), read_caches(registry), count_stored(registry)
    manifests = dict(registry.manifests)
    plan = prune(registry, policy)

    assert made.precious <= registry.manifests.keys()
    assert {tag for tag in tags if parse_cache_tag(tag) is None} <= registry.tags.keys()
    assert {tag for tag, digest in tags.items() if digest in made.precious} <= registry.tags.keys()
    for content in registry.manifests.values():
        assert set(blobs_of(content)) <= registry.blobs.keys()
    if policy.limit is None and policy.older_than is None:
        promised = {tag for tag in tags if parse_cache_tag(tag) and is_promised(tag, policy)}
        assert promised - _orphans(tags, promised) <= registry.tags.keys()
    current = {tag for tag in tags if tag in (DEFAULT_SCOPE.stage_tag("base"), DEFAULT_SCOPE.stage_tag("app"))}
    assert current <= registry.tags.keys()
    assert_merged_caches_keep_what_stays(caches, read_caches(registry))
    if not plan.rewrites:
        assert size - count_stored(registry) == (
            plan.freed if registry.lists_untagged else _freed_at_once(manifests, registry)
        )


def _orphans(tags: Mapping[str, str], promised: set[str]) -> set[str]:
    """Return merged caches and ledgers of branches of which no stage cache and no mount is promised."""
    kept = {parsed.suffix for tag in promised if (parsed := parse_cache_tag(tag)) and parsed.name}
    return {tag for tag in tags if (parsed := parse_cache_tag(tag)) and parsed.suffix and parsed.suffix not in kept}


def _freed_at_once(before: Mapping[str, bytes], registry: MemoryRegistry) -> int:
    """Return the bytes of what was deleted and is named nowhere, where manifests without a tag are not listed."""
    named = {digest for content in registry.manifests.values() for digest in blobs_of(content)}
    gone = [before[digest] for digest in registry.deleted]
    sizes: dict[str, int] = {}
    for content in gone:
        document = json.loads(content)
        for entry in (document["config"], *document["layers"]):
            sizes[entry["digest"]] = entry["size"]
    return sum(map(len, gone)) + sum(size for digest, size in sizes.items() if digest not in named)


def assert_merged_caches_keep_what_stays(before: Mapping[str, CacheConfig], after: Mapping[str, CacheConfig]) -> None:
    """Check for each merged cache that what it gave of a cache that stays, it still gives."""
    for scope in (DEFAULT_SCOPE, FEATURE, SEVEN):
        if scope.merged_tag not in after:
            continue
        gave = available_evidence([before[scope.merged_tag]])
        gives = available_evidence([after[scope.merged_tag]])
        for tag, cache in after.items():
            parsed = parse_cache_tag(tag)
            if parsed and parsed.kind is TagKind.STAGE and parsed.suffix in (scope.suffix, ""):
                assert collect_evidence(cache) & gave <= gives


def fill_registry() -> MemoryRegistry:
    """Return a repository on ghcr.io with two stages, three results each, a branch, and what it left behind."""
    registry = MemoryRegistry()
    registry.now = NOW - 40 * DAY
    registry.put_image("app", "latest", layers=["layer-1"])
    for generation, layer in enumerate(("layer-1", "layer-2", "layer-3")):
        registry.put_cache(layer, tags=[DEFAULT_SCOPE.stage_tag("base", generation)], at=OLD)
    registry.put_cache("layer-4", "layer-5", tags=[DEFAULT_SCOPE.stage_tag("app")], at=OLD)
    registry.put_cache("layer-6", at=OLD)
    registry.put_cache("layer-7", tags=[FEATURE.stage_tag("app")], at=OLD)
    merge_scope(registry, DEFAULT_SCOPE)
    merge_scope(registry, FEATURE)
    registry.now = NOW
    registry.put_cache("layer-8", tags=[SEVEN.stage_tag("app")], at=NEW)
    registry.put_cache("layer-9", at=NEW)
    return registry


def find_reasons(plan: PrunePlan) -> dict[str, str]:
    return {",".join(sorted(deletion.manifest.tags)): deletion.reason for deletion in plan.deletions}


def test_plan_prune_default_gives_up_what_no_tag_names() -> None:
    """Delete caches without a tag that are older than the grace time, and nothing that a build may read."""
    plan = make_plan(fill_registry())
    assert find_reasons(plan) == {"": "no tag names it"}
    assert (plan.young, len(plan.rewrites)) == (1, 0)
    assert plan.before == plan.remaining


def test_plan_prune_keep_gives_up_older_results_and_rewrites_merged_caches() -> None:
    registry = fill_registry()
    plan = make_plan(registry, replace(KEEP_ALL, keep=1))
    assert find_reasons(plan).keys() == {"", "cache1-base", "cache2-base"}
    assert {rewrite.tag for rewrite in plan.rewrites} == {"cache", FEATURE.merged_tag}
    assert plan.remaining < plan.before
    prune(registry, replace(KEEP_ALL, keep=1))
    assert registry.tags.keys() >= {"latest", "cache", "cache-base", "cache-app", FEATURE.merged_tag}


def test_plan_prune_freed_later_is_freed_after_the_grace_time() -> None:
    """Keep the blobs of a rewritten merged cache as long as a build may read the manifest that it had before."""
    registry = fill_registry()
    policy = replace(KEEP_ALL, keep=1)
    first = prune(registry, policy)
    assert first.freed_later > 0
    size = count_stored(registry)
    later = prune(registry, replace(policy, now=NOW + GRACE_SECONDS + 1))
    assert later.freed_later == 0
    assert size - count_stored(registry) == later.freed >= first.freed_later


def test_plan_prune_gone_gives_up_the_whole_scope() -> None:
    registry = fill_registry()
    prune(registry, replace(KEEP_ALL, gone=frozenset({FEATURE.suffix, ""})))
    assert {tag for tag in registry.tags if FEATURE.suffix in tag} == set()
    assert DEFAULT_SCOPE.stage_tag("base", 2) in registry.tags


def test_plan_prune_older_than_keeps_current_results_of_the_default_branch() -> None:
    registry = fill_registry()
    prune(registry, replace(KEEP_ALL, older_than=30 * DAY))
    assert {tag for tag in registry.tags if parse_cache_tag(tag)} == {
        "cache", "cache-base", "cache-app", SEVEN.stage_tag("app"),
    }  # fmt: skip


def test_plan_prune_limit_gives_up_far_and_old_first() -> None:
    """Give up branches first, the oldest first, then older results; current results stay in any case."""
    registry = fill_registry()
    taken = make_plan(registry).before
    order: list[str] = []
    for limit in range(taken, 0, -10):
        for tags in find_reasons(make_plan(registry, replace(KEEP_ALL, limit=limit))):
            if "-" in tags and tags not in order:
                order.append(tags)
    assert order == [FEATURE.stage_tag("app"), SEVEN.stage_tag("app"), "cache2-base", "cache1-base"]
    tight = make_plan(registry, replace(KEEP_ALL, limit=1))
    assert tight.remaining > 1
    assert make_plan(registry, replace(KEEP_ALL, limit=taken)).remaining == taken


@pytest.mark.parametrize("scope", [FEATURE, Scope("other")])
def test_plan_prune_unknown_age_stays(scope: Scope) -> None:
    registry = MemoryRegistry(lists_untagged=False)
    registry.put_cache("layer-1", tags=[scope.stage_tag("app")], at="0001-01-01T00:00:00Z")
    assert make_plan(registry, replace(KEEP_ALL, older_than=0.0)).deletions == ()
