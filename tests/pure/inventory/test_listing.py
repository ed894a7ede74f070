"""Test what `cache ls` counts: alone, shared with an image, grown, without a tag."""

from __future__ import annotations

from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.inventory.cache_tags import TagKind, name_scopes
from stagebake.inventory.listing import WEEK_SECONDS, CacheEntry, CacheListing, list_caches
from stagebake.inventory.read_contents import read_contents, read_times
from tests.support.memory_registry import MemoryRegistry

FEATURE = Scope("feature")
NEW, OLD = "2027-01-14T08:00:00Z", "2026-10-01T00:00:00Z"
NEW_SECONDS = 1_799_913_600.0


def make_listing(registry: MemoryRegistry) -> CacheListing:
    contents = read_contents(registry, registry)
    times = read_times(registry, contents.by_tag.values())
    return list_caches(contents, times, name_scopes(["", FEATURE.suffix], "main"), registry.now)


def find_entry(listing: CacheListing, scope: str, name: str) -> CacheEntry:
    (entry,) = (entry for entry in listing.entries if (entry.scope, entry.name) == (scope, name))
    return entry


def fill_registry(*, lists_untagged: bool = True) -> MemoryRegistry:
    """Return a registry with an image, two stages in two generations, a branch, a mount, and a merged cache."""
    registry = MemoryRegistry(lists_untagged=lists_untagged)
    registry.put_image("app", "latest", layers=("layer-1", "layer-a"))
    registry.put_cache("layer-1", tags=[DEFAULT_SCOPE.stage_tag("base")], at=OLD)
    registry.put_cache("layer-1", "layer-2", tags=[DEFAULT_SCOPE.stage_tag("app")], at=NEW)
    registry.put_cache("layer-3", tags=[DEFAULT_SCOPE.stage_tag("app", 1)], at=OLD)
    registry.put_cache("layer-1", "layer-2", "layer-3", tags=[DEFAULT_SCOPE.merged_tag], at=NEW)
    registry.put_cache("layer-3", "layer-4", tags=[FEATURE.stage_tag("app")], at=NEW)
    registry.put_mount("npm", DEFAULT_SCOPE.mount_tag("npm"))
    registry.put_cache("layer-5", "layer-2", at=OLD)
    registry.put_image("foreign", "cache-foreign")
    return registry


def test_list_caches_sizes_are_split_into_shared_and_alone() -> None:
    listing = make_listing(fill_registry())
    base, app = find_entry(listing, "main", "base"), find_entry(listing, "main", "app")
    branch = find_entry(listing, FEATURE.suffix.removeprefix("_"), "app")
    assert base.shared == 7  # layer-1 is in the image; the rest is the config and the manifest
    assert base.alone == base.bytes - 7
    assert app.tags == ("cache-app", "cache1-app")
    assert app.created == NEW_SECONDS
    assert app.bytes - app.shared - app.alone == 7  # layer-3, which the branch has too
    assert branch.bytes - branch.alone == 7


def test_list_caches_order_is_by_scope_then_kind() -> None:
    kinds = [(entry.scope, entry.kind, entry.name) for entry in make_listing(fill_registry()).entries]
    assert kinds == [
        ("main", TagKind.STAGE, "app"),
        ("main", TagKind.STAGE, "base"),
        ("main", TagKind.MOUNT, "npm"),
        ("main", TagKind.MERGED, ""),
        (FEATURE.suffix.removeprefix("_"), TagKind.STAGE, "app"),
    ]


def test_list_caches_totals_count_each_blob_once() -> None:
    registry = fill_registry()
    listing = make_listing(registry)
    assert listing.image_tags == 2
    assert listing.image_bytes == sum(
        len(content) for content in (b"layer-1", b"layer-a", b"config of app", b"config of foreign")
    )
    assert listing.cache_bytes - listing.cache_only == 7
    assert listing.misplaced == ("cache-foreign",)


def test_list_caches_untagged_counts_what_no_tag_names() -> None:
    listing = make_listing(fill_registry())
    assert listing.untagged == 1
    assert listing.untagged_bytes is not None
    assert listing.untagged_bytes > 7  # layer-5, the config and the manifest, but not layer-2
    registry = fill_registry(lists_untagged=False)
    assert make_listing(registry).untagged is None


def test_list_caches_growth_counts_what_only_new_caches_hold() -> None:
    registry = fill_registry(lists_untagged=False)
    fresh = make_listing(registry).grown
    registry.now += WEEK_SECONDS
    mounts = make_listing(registry).grown
    assert mounts == 0
    assert 0 < fresh < make_listing(registry).cache_only
