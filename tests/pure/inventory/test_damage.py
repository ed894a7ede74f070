"""Test what `cache verify` finds broken, which stages are lost, and how it is repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from stagebake.cache.backends import SizeAnswers
from stagebake.cache.cache_config import parse_cache, serialize_cache
from stagebake.cache.manifest import LEDGER_TYPE, build_artifact
from stagebake.cache.merge import merge_caches
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.errors import RegistryError
from stagebake.inventory.damage import CacheCheck, DamageKind, check_caches, find_lost_stages, plan_repairs
from tests.support.caches import digest, results_of
from tests.support.memory_registry import MemoryRegistry

FEATURE = Scope("feature")
BASE, BASE_1, APP = DEFAULT_SCOPE.stage_tag("base"), DEFAULT_SCOPE.stage_tag("base", 1), DEFAULT_SCOPE.stage_tag("app")
MERGED, LEDGER, MOUNT = DEFAULT_SCOPE.merged_tag, DEFAULT_SCOPE.ledger_tag, DEFAULT_SCOPE.mount_tag("npm")


def fill_registry() -> MemoryRegistry:
    """Return a registry with two stages, an older result, the merged cache, a ledger, a mount and an image."""
    registry = MemoryRegistry()
    registry.put_cache("layer-1", tags=[BASE])
    registry.put_cache("layer-0", tags=[BASE_1])
    registry.put_cache("layer-2", tags=[APP])
    registry.put_cache("layer-0", "layer-1", "layer-2", tags=[MERGED])
    registry.push_manifest(build_artifact(b"ledger", LEDGER_TYPE), LEDGER)
    registry.put_mount("npm", MOUNT)
    registry.put_image("app", "latest", layers=["layer-1"])
    return registry


def check(registry: MemoryRegistry, *, deep: bool = False) -> CacheCheck:
    return check_caches(registry, registry.tags, registry.hash_blobs if deep else None)


def find_damages(result: CacheCheck) -> set[tuple[str, DamageKind]]:
    return {(damage.tag, damage.kind) for damage in result.damages}


def config_of(registry: MemoryRegistry, tag: str) -> str:
    (found,) = (checked.manifest for checked in check(registry).tags if checked.tag.tag == tag)
    assert found is not None
    return found.config


@pytest.mark.parametrize("deep", [False, True])
def test_check_caches_intact_registry_has_no_damage(deep: bool) -> None:
    result = check(fill_registry(), deep=deep)
    assert result.damages == ()
    assert result.unread == ()
    assert len(result.tags) == 6
    assert find_lost_stages(result) == {}
    assert plan_repairs(result) == {}


def lose_layer(registry: MemoryRegistry) -> None:
    del registry.blobs[digest("layer-2")]


def cut_layer(registry: MemoryRegistry) -> None:
    registry.blobs[digest("layer-2")] = b"layer"


def flip_layer(registry: MemoryRegistry) -> None:
    registry.blobs[digest("layer-2")] = b"layer-X"


def lose_config(registry: MemoryRegistry) -> None:
    del registry.blobs[config_of(registry, APP)]


def flip_config(registry: MemoryRegistry) -> None:
    config = config_of(registry, APP)
    registry.blobs[config] = bytes(len(registry.blobs[config]))


def lose_manifest(registry: MemoryRegistry) -> None:
    del registry.manifests[registry.tags[APP]]


def move_tag(registry: MemoryRegistry) -> None:
    registry.tags[APP] = registry.tags["latest"]


def put_other_layers(registry: MemoryRegistry) -> None:
    """Give a layer a media type that layers do not have."""
    content = registry.manifests.pop(registry.tags[APP])
    registry.tags[APP] = "sha256:1"
    registry.manifests["sha256:1"] = content.replace(b"application/vnd.oci.image.layer", b"text/plain; layer")


@pytest.mark.parametrize(
    ("spoil", "kind", "tags", "deep"),
    [
        (lose_layer, DamageKind.MISSING, {APP, MERGED}, False),
        (cut_layer, DamageKind.WRONG_SIZE, {APP, MERGED}, False),
        (flip_layer, DamageKind.WRONG_BYTES, {APP, MERGED}, True),
        (lose_config, DamageKind.MISSING, {APP}, False),
        (flip_config, DamageKind.WRONG_BYTES, {APP}, False),
        (lose_manifest, DamageKind.DANGLING, {APP}, False),
        (move_tag, DamageKind.OTHER_CONTENT, {APP}, False),
        (put_other_layers, DamageKind.OTHER_CONTENT, {APP}, False),
    ],
)
def test_check_caches_finds_each_damage_and_its_stage(
    spoil: Callable[[MemoryRegistry], None], kind: DamageKind, tags: set[str], deep: bool
) -> None:
    """Find each kind of damage; the stage is lost, because no other cache has its result."""
    registry = fill_registry()
    spoil(registry)
    result = check(registry, deep=deep)
    assert find_damages(result) == {(tag, kind) for tag in tags}
    assert find_lost_stages(result) == {"": ("app",)}


def test_check_caches_flipped_layer_is_found_by_the_deep_check_only() -> None:
    registry = fill_registry()
    flip_layer(registry)
    assert check(registry).damages == ()


def test_find_lost_stages_result_in_another_cache_is_not_lost() -> None:
    """Restore a stage of a branch from the default branch, and one whose tag dangles from the rest."""
    registry = fill_registry()
    registry.put_cache("layer-2", tags=[FEATURE.stage_tag("app")], at="2026-11-21T10:00:00Z")
    registry.put_cache("layer-1", "layer-9", tags=[DEFAULT_SCOPE.stage_tag("all")])
    registry.put_cache("layer-1", "layer-9", tags=[MERGED])
    del registry.manifests[registry.tags[BASE]]
    assert find_lost_stages(check(registry)) == {}


def test_find_lost_stages_unreadable_cache_is_not_blamed_for_another_one() -> None:
    """Restore a stage whose tag dangles from the cache of a later stage, although the result of a third is lost."""
    registry = fill_registry()
    registry.put_cache("layer-1", "layer-9", tags=[DEFAULT_SCOPE.stage_tag("all")])
    stages = [checked.whole for checked in check(registry).tags if checked.tag.tag != MERGED and checked.whole]
    registry.push_manifest(serialize_cache(merge_caches(stages)), MERGED)
    lose_layer(registry)
    del registry.manifests[registry.tags[BASE]]
    assert find_lost_stages(check(registry)) == {"": ("app",)}


def test_find_lost_stages_result_that_a_newer_one_replaced_is_not_lost() -> None:
    """Do not count what no build would read before the damage either."""
    registry = fill_registry()
    registry.put_cache("layer-8", "layer-2", tags=[FEATURE.stage_tag("app")], at="2026-11-01T10:00:00Z")
    del registry.blobs[digest("layer-8")]
    assert "app" not in find_lost_stages(check(registry)).get("", ())


def repair(registry: MemoryRegistry, *, deep: bool = False) -> None:
    for tag, document in plan_repairs(check(registry, deep=deep)).items():
        if document is None:
            del registry.tags[tag]
        else:
            registry.push_manifest(document, tag)


def read_layers(registry: MemoryRegistry, tag: str) -> set[str]:
    """Return the layers that a repaired cache gives the steps."""
    manifest = registry.manifests[registry.tags[tag]]
    (checked,) = (checked for checked in check(registry).tags if checked.tag.tag == tag)
    assert checked.manifest is not None
    cache = parse_cache(manifest, registry.blobs[checked.manifest.config])
    return {layer for chains in results_of(cache).values() for chain in chains for layer in chain}


@pytest.mark.parametrize("spoil", [lose_layer, cut_layer, flip_layer])
def test_plan_repairs_keeps_what_is_left(spoil: Callable[[MemoryRegistry], None]) -> None:
    """Push an empty cache for a stage without rest; nothing is broken then, and the other stages stay."""
    registry = fill_registry()
    spoil(registry)
    repair(registry, deep=True)
    assert check(registry, deep=True).damages == ()
    assert read_layers(registry, APP) == set()
    assert read_layers(registry, BASE) == {digest("layer-1")}


def test_plan_repairs_stage_without_rest_gets_its_older_result() -> None:
    registry = fill_registry()
    del registry.blobs[digest("layer-1")]
    repair(registry)
    assert read_layers(registry, BASE) == {digest("layer-0")}


@pytest.mark.parametrize("spoil", [lose_config, flip_config, lose_manifest])
def test_plan_repairs_unreadable_cache_is_replaced(spoil: Callable[[MemoryRegistry], None]) -> None:
    registry = fill_registry()
    spoil(registry)
    repair(registry)
    assert check(registry).damages == ()


def test_plan_repairs_unreadable_merged_cache_is_merged_again() -> None:
    registry = fill_registry()
    del registry.manifests[registry.tags[MERGED]]
    repair(registry)
    assert read_layers(registry, MERGED) == {digest(f"layer-{number}") for number in (0, 1, 2)}


def test_plan_repairs_tag_with_an_image_is_left_alone() -> None:
    registry = fill_registry()
    move_tag(registry)
    assert plan_repairs(check(registry)) == {}


def test_plan_repairs_broken_ledger_and_mount_are_deleted() -> None:
    registry = fill_registry()
    del registry.blobs[config_of(registry, LEDGER)]
    del registry.blobs[digest("npm")]
    assert plan_repairs(check(registry)) == {LEDGER: None, MOUNT: None}


class BusyRegistry(MemoryRegistry):
    """Registry that tells no sizes."""

    def read_blob_sizes(self, digests: Iterable[str]) -> SizeAnswers:
        return dict.fromkeys(digests, RegistryError("busy", "try again"))


def test_check_caches_failed_request_is_unread_not_damage() -> None:
    registry = BusyRegistry()
    registry.put_cache("layer-1", tags=[BASE])
    result = check(registry)
    assert (result.damages, result.unread) == ((), ("busy",))
