"""Test deletion as planned, while builds push and tag, and through GitHub's packages API."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from stagebake.cache.backends import TaggedVersion
from stagebake.cache.scopes import DEFAULT_SCOPE
from stagebake.errors import RegistryError
from stagebake.inventory.deletion import PrunePlan, PrunePolicy, plan_prune
from stagebake.inventory.prune_caches import prune_caches
from stagebake.inventory.read_contents import read_contents, read_times
from stagebake.stores.github_packages import GithubPackages
from tests.support.memory_registry import MemoryRegistry
from tests.support.packages import TOKEN, Packages
from tests.support.random_registry import DAY, merge_scope

POLICY = PrunePolicy(now=MemoryRegistry.now, keep=1)
BASE_1 = DEFAULT_SCOPE.stage_tag("base", 1)


def fill_registry() -> MemoryRegistry:
    """Return a repository with an image, two results of a stage, the merged cache, and a cache without a tag."""
    registry = MemoryRegistry()
    registry.now -= 40 * DAY
    registry.put_image("app", "latest", layers=["layer-1"])
    registry.put_cache("layer-1", tags=[DEFAULT_SCOPE.stage_tag("base")])
    registry.put_cache("layer-2", tags=[BASE_1])
    registry.put_cache("layer-3")
    merge_scope(registry, DEFAULT_SCOPE)
    registry.now = MemoryRegistry.now
    return registry


def make_plan(registry: MemoryRegistry) -> PrunePlan:
    contents = read_contents(registry, registry)
    return plan_prune(contents, read_times(registry, contents.by_tag.values()), POLICY)


def test_prune_caches_version_that_a_build_tags_meanwhile_stays() -> None:
    registry = fill_registry()
    plan = make_plan(registry)
    registry.tags["cache-other"] = registry.tags[BASE_1]
    result = prune_caches(registry, registry, plan)
    (kept,) = result.kept
    assert (set(kept.manifest.tags), kept.reason) == ({BASE_1}, "a build has changed its tags")
    assert registry.tags.keys() == {"latest", "cache", "cache-base", BASE_1, "cache-other"}


def test_prune_caches_version_that_a_build_pushes_again_stays() -> None:
    registry = fill_registry()
    plan = make_plan(registry)
    (untagged,) = (deletion.manifest.digest for deletion in plan.deletions if not deletion.manifest.tags)
    registry.pushed[untagged] = registry.now
    (kept,) = prune_caches(registry, registry, plan).kept
    assert (kept.manifest.digest, kept.reason) == (untagged, "a build has pushed it again")


def test_prune_caches_merged_cache_that_a_build_replaces_stays() -> None:
    """Do not write over the merged cache that a build has saved since the plan."""
    registry = fill_registry()
    plan = make_plan(registry)
    newer = registry.put_cache("layer-5", tags=["cache"])
    prune_caches(registry, registry, plan)
    assert registry.tags["cache"] == newer


def test_prune_caches_version_that_is_gone_already_is_no_error() -> None:
    registry = fill_registry()
    plan = make_plan(registry)
    for deletion in plan.deletions:
        del registry.manifests[deletion.manifest.digest]
    result = prune_caches(registry, registry, replace(plan, rewrites=()))
    assert (result.deleted, result.kept, result.failure) == ((), (), None)


class LimitedRegistry(MemoryRegistry):
    """Registry that refuses every delete after the first."""

    def delete_version(self, version: TaggedVersion) -> str | None:
        if self.deleted:
            raise RegistryError("rate limit", "later")
        return super().delete_version(version)


def test_prune_caches_failure_reports_what_is_done() -> None:
    full = fill_registry()
    registry = LimitedRegistry(manifests=full.manifests, blobs=full.blobs, tags=full.tags, pushed=full.pushed)
    result = prune_caches(registry, registry, make_plan(registry))
    assert len(result.deleted) == 1
    assert str(result.failure) == "rate limit"


def test_prune_caches_on_ghcr_deletes_by_the_packages_api() -> None:
    """Delete caches without a tag and an older result; keep 500 untagged images, and what they name."""
    registry = fill_registry()
    for number in range(500):
        registry.put_image(f"untagged {number}", layers=["layer-4"])
    ids = {digest: number for number, digest in enumerate(registry.manifests, start=1)}
    names = {number: [tag for tag, named in registry.tags.items() if named == digest] for digest, number in ids.items()}
    digests = {number: digest for digest, number in ids.items()}
    with Packages("orgs", "owner", {"app": names}, digests=digests) as github:
        packages = GithubPackages("ghcr.io/owner/app", TOKEN, {"GITHUB_API_URL": github.url})
        with closing(packages):
            contents = read_contents(packages, registry)
            plan = plan_prune(contents, {}, POLICY)
            result = prune_caches(packages, registry, plan)
        left = github.versions["app"].keys()
    deleted = {deletion.manifest.digest for deletion in result.deleted}
    untagged_cache = next(manifest.digest for manifest in contents.untagged_caches)
    assert deleted == {registry.tags[BASE_1], untagged_cache}
    assert {digests[number] for number in left} == ids.keys() - deleted
