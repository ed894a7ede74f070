"""Test how refs are read, checked and repaired, with the caches in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.cache.cache_config import CacheConfig, serialize_cache
from stagebake.cache.cache_refs import image_layer_sizes, read_caches, repair_refs, rotate_generations
from stagebake.cache.manifest import build_artifact, config_digest
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope
from stagebake.cache.stage_caches import StageCaches
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.stores.oci_layout import OciLayout
from tests.support.caches import cache_of, digest, layer, record

BRANCH = Scope("feature")
GRAPH = parse_dockerfile("FROM debian AS app\n")
OWN = Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)
READ_ONLY = Access(reads=(BRANCH, DEFAULT_SCOPE), writes=None)


def build_cache(blob: str) -> CacheConfig:
    """Return a cache with one step and one layer."""
    return cache_of(layer(blob), records=[record(blob, layer=0)])


def blob_path(layout: OciLayout, blob_digest: str) -> Path:
    return Path(layout.image, "blobs/sha256", blob_digest.removeprefix("sha256:"))


def save_cache(layout: OciLayout, blob: str, generation: int = 0, *, with_blob: bool = True) -> None:
    """Save a cache of the stage `app`, with its layer or without."""
    cache = build_cache(blob)
    if with_blob:
        path = blob_path(layout, digest(blob))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(cache.blob_sizes()[digest(blob)]))
    layout.push_manifest(serialize_cache(cache), DEFAULT_SCOPE.stage_tag("app", generation))


def read_own(layout: OciLayout) -> StageCaches:
    return read_caches(layout, GRAPH, OWN)


def read_digests(layout: OciLayout) -> dict[str, str]:
    return {stage_cache.tag: stage_cache.digest for stage_cache in read_own(layout).caches}


def config_path(layout: OciLayout, tag: str) -> Path:
    manifest = layout.read_manifest(tag)
    assert manifest is not None
    return blob_path(layout, config_digest(manifest))


def test_repair_refs_stage_without_remaining_result_is_intact_next_time(tmp_path: Path) -> None:
    """Overwrite the ref without the missing result: the next build has nothing to heal and no warning."""
    layout = OciLayout(tmp_path)
    save_cache(layout, "missing", with_blob=False)
    broken = read_own(layout)
    assert broken.healed_stages == ("app",)
    assert broken.is_damaged(DEFAULT_SCOPE)
    assert broken.has_stage("app")
    repair_refs(layout, broken, DEFAULT_SCOPE)
    repaired = read_own(layout)
    assert repaired.healed_stages == ()
    assert not repaired.is_damaged(DEFAULT_SCOPE)
    assert repaired.warnings == ()
    assert repaired.has_stage("app"), "saving a stage that did not run would run it"


def push_other_content(layout: OciLayout) -> None:
    layout.push_manifest(build_artifact(b"{}", "text/plain"), DEFAULT_SCOPE.stage_tag("app"))


@pytest.mark.parametrize("older", [False, True])
def test_read_caches_tag_without_cache_is_one_warning(tmp_path: Path, older: bool) -> None:
    layout = OciLayout(tmp_path)
    push_other_content(layout)
    if older:
        save_cache(layout, "older", generation=1)
    stage_caches = read_own(layout)
    assert len(stage_caches.warnings) == 1
    assert stage_caches.healed_stages == ()
    assert stage_caches.is_damaged(DEFAULT_SCOPE)
    assert stage_caches.has_stage("app") == older
    assert not stage_caches.is_damaged(BRANCH), "this build does not write the refs of other scopes"


def test_repair_refs_tag_without_cache_gets_an_older_result(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    push_other_content(layout)
    save_cache(layout, "older", generation=1)
    before = layout.read_manifest("cache-app")
    repair_refs(layout, read_own(layout), DEFAULT_SCOPE)
    repaired = read_own(layout)
    assert layout.read_manifest("cache-app") != before
    assert not repaired.is_damaged(DEFAULT_SCOPE)
    assert repaired.warnings == ()
    assert repaired.blob_sizes().keys() == {digest("older")}


def test_repair_refs_tag_without_cache_and_result_stays(tmp_path: Path) -> None:
    """Overwrite nothing without a valid result: the response may have been temporary."""
    layout = OciLayout(tmp_path)
    push_other_content(layout)
    before = layout.read_manifest("cache-app")
    repair_refs(layout, read_own(layout), DEFAULT_SCOPE)
    again = read_own(layout)
    assert layout.read_manifest("cache-app") == before
    assert again.is_damaged(DEFAULT_SCOPE)
    assert again.warnings
    assert again.blob_sizes() == {}


def test_repair_refs_config_with_wrong_bytes_is_overwritten(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    save_cache(layout, "new")
    save_cache(layout, "old", generation=1)
    config_path(layout, "cache-app").write_bytes(b"{}")
    stage_caches = read_own(layout)
    assert stage_caches.is_damaged(DEFAULT_SCOPE)
    repair_refs(layout, stage_caches, DEFAULT_SCOPE)
    assert read_own(layout).warnings == ()


@pytest.mark.parametrize("access", [OWN, READ_ONLY], ids=["stage-caches", "merged-cache"])
def test_read_caches_unreadable_config_is_a_read_failure(tmp_path: Path, access: Access) -> None:
    """Distinguish a failed read, after which a plan must not say `rebuild`, from wrong bytes, which stay wrong."""
    layout = OciLayout(tmp_path)
    save_cache(layout, "new")
    (stage_cache,) = read_own(layout).caches
    layout.push_manifest(serialize_cache(stage_cache.cache), DEFAULT_SCOPE.merged_tag)
    path = config_path(layout, "cache-app")
    path.write_bytes(b"{}")
    assert read_caches(layout, GRAPH, access).read_failure == ""
    path.unlink()
    path.mkdir()
    assert "Is a directory" in read_caches(layout, GRAPH, access).read_failure


def test_rotate_generations_same_layers_stay_in_place(tmp_path: Path) -> None:
    """Push no older result out where a stage is saved for its new keys alone."""
    layout = OciLayout(tmp_path)
    for generation, blob in enumerate(("new", "old", "oldest")):
        save_cache(layout, blob, generation)
    before = read_digests(layout)
    rotate_generations(layout, read_own(layout), DEFAULT_SCOPE, "app", {digest("new")})
    assert read_digests(layout) == before


def test_rotate_generations_other_layers_move_the_older_results(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    for generation, blob in enumerate(("new", "old", "oldest")):
        save_cache(layout, blob, generation)
    before = read_digests(layout)
    rotate_generations(layout, read_own(layout), DEFAULT_SCOPE, "app", {digest("newest")})
    after = read_digests(layout)
    assert after["cache1-app"] == before["cache-app"]
    assert after["cache2-app"] == before["cache1-app"]


def test_read_caches_without_write_access_imports_the_merged_cache(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    save_cache(layout, "new")
    merged_digest = layout.push_manifest(serialize_cache(build_cache("new")), DEFAULT_SCOPE.merged_tag)
    stage_caches = read_caches(layout, GRAPH, READ_ONLY)
    assert stage_caches.merged_source == f"digest={merged_digest}"
    assert [stage_cache.stage for stage_cache in stage_caches.caches] == [None]
    assert stage_caches.has_stage("app")


def test_image_layer_sizes_missing_image_is_empty(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    assert image_layer_sizes(layout, digest("image")) == {}
    manifest_digest = layout.push_manifest(serialize_cache(build_cache("new")))
    assert image_layer_sizes(layout, manifest_digest) == build_cache("new").blob_sizes()
