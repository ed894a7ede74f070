"""What a build reads of the caches that there are: where BuildKit does not take all, or the registry is silent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stagebake.cache.cache_config import CacheConfig, serialize_cache
from stagebake.cache.cache_refs import read_caches, repair_refs, rotate_generations
from stagebake.cache.manifest import build_artifact, config_digest
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope
from stagebake.cache.stage_caches import StageCache, StageCaches, drop_broken_blobs
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import RegistryError, RegistryUnreachable
from stagebake.stores.http import PARALLEL, fetch_all
from stagebake.stores.oci_layout import OciLayout
from tests.support.caches import cache_of, digest, layer, record

BRANCH = Scope("feature")


def stage_cache(tag: str, steps: int, *, scope: Scope = DEFAULT_SCOPE, generation: int = 0) -> StageCache:
    """A cache of about 130 bytes for each step."""
    records = [record(f"{tag} {number}", layer=0) for number in range(steps)]
    return StageCache(
        tag=tag, scope=scope, stage=tag, generation=generation, cache=cache_of(layer(f"blob of {tag}"), records=records)
    )


def tags(stage_caches: StageCaches) -> list[str]:
    return [found.tag for found in stage_caches.caches]


def test_what_fits_is_read_whole() -> None:
    """Nothing is left out without need."""
    stage_caches = StageCaches(caches=(stage_cache("a", 10), stage_cache("b", 10, generation=1)))
    assert stage_caches.within_size_limit() is stage_caches


def test_older_generations_are_left_out_first() -> None:
    """Then farther scopes."""
    new, old = stage_cache("new", 10), stage_cache("old", 9000, generation=1)
    assert tags(StageCaches(caches=(new, old)).within_size_limit()) == ["new"]
    near, far = stage_cache("near", 10, scope=BRANCH), stage_cache("far", 9000)
    assert tags(StageCaches(caches=(near, far)).within_size_limit()) == ["near"]


def test_of_one_scope_the_largest_is_left_out() -> None:
    """One stage that is too large does not take the others with it."""
    stage_caches = StageCaches(caches=(stage_cache("small", 10), stage_cache("large", 9000), stage_cache("middle", 20)))
    assert tags(stage_caches.within_size_limit()) == ["small", "middle"]


def test_an_emptied_shelf_still_says_what_was_broken() -> None:
    """The broken refs are written anew although the build read nothing."""
    stage_caches = StageCaches(caches=(stage_cache("a", 1), stage_cache("b", 1)))
    stage_caches = drop_broken_blobs(
        stage_caches, frozenset({digest("blob of a")}), corrupt_blobs=frozenset({digest("blob of a")})
    )
    emptied = stage_caches.without_caches("why")
    assert (emptied.healed_stages, emptied.merge_stages(), emptied.warnings) == (("a",), None, ("why",))
    assert emptied.corrupt_blobs == {digest("blob of a")}


def test_a_published_cache_with_a_broken_blob_is_not_read_and_that_is_said() -> None:
    """It lies in the registry as it is, so nothing can be left out of it."""
    merged = replace(stage_cache("cache", 1), stage=None)
    stage_caches = drop_broken_blobs(
        StageCaches(caches=(merged,), merged_source="host/name@sha256:1"),
        frozenset(merged.cache.blob_sizes()),
        corrupt_blobs=frozenset(merged.cache.blob_sizes()),
    )
    assert stage_caches.merged_source is None
    assert stage_caches.corrupt_blobs == merged.cache.blob_sizes().keys(), (
        "what is rebuilt may not become the same blob"
    )
    assert stage_caches.caches == ()
    (warning,) = stage_caches.warnings
    assert "cache is left out" in warning
    assert digest("blob of cache") in warning


def test_a_server_that_does_not_answer_is_not_asked_for_the_rest() -> None:
    """Each that is not asked gets the same error; one that refuses is asked for all."""
    silent, refused = RegistryUnreachable("silent", "wait"), RegistryError("refused", "log in")
    asked: list[str] = []

    def ask(key: str) -> CacheConfig:
        asked.append(key)
        raise silent if key.startswith("s") else refused

    names = [str(number) for number in range(100)]
    assert set(fetch_all(ask, [f"s{name}" for name in names]).values()) == {silent}
    assert len(asked) <= PARALLEL
    asked.clear()
    assert set(fetch_all(ask, names).values()) == {refused}
    assert len(asked) == len(names)


GRAPH = parse_dockerfile("FROM debian AS app\n")
OWN = Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)


def saved(layout: OciLayout, blob: str, generation: int = 0, *, there: bool = True) -> None:
    """A cache of the stage `app` with one layer, which is in the folder or not."""
    if there:
        file = Path(layout.image, "blobs/sha256", digest(blob).removeprefix("sha256:"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(layer_size(blob)))
    made = cache_of(layer(blob), records=[record(blob, layer=0)])
    layout.push_manifest(serialize_cache(made), DEFAULT_SCOPE.stage_tag("app", generation))


def layer_size(blob: str) -> int:
    return cache_of(layer(blob), records=[record(blob, layer=0)]).blob_sizes()[digest(blob)]


def shelf_of(layout: OciLayout) -> StageCaches:
    return read_caches(layout, GRAPH, OWN)


def test_healing_ends_although_nothing_is_left_of_a_stage(tmp_path: Path) -> None:
    """The ref is written anew without what is gone: the next build has nothing to heal and nothing to say."""
    layout = OciLayout(tmp_path)
    saved(layout, "gone", there=False)
    broken = shelf_of(layout)
    assert (broken.healed_stages, broken.is_damaged(DEFAULT_SCOPE), broken.has_stage("app")) == (("app",), True, True)
    repair_refs(layout, broken, DEFAULT_SCOPE)
    mended = shelf_of(layout)
    assert (mended.healed_stages, mended.is_damaged(DEFAULT_SCOPE), mended.warnings) == ((), False, ())
    assert mended.has_stage("app"), "saving a stage that did not run would run it"


@pytest.mark.parametrize("older", [False, True])
def test_a_ref_that_holds_something_else_is_replaced(tmp_path: Path, older: bool) -> None:
    """It is named once. Where an older result is whole the ref takes that, else the stage is saved anew."""
    layout = OciLayout(tmp_path)
    layout.push_manifest(build_artifact(b"{}", "text/plain"), DEFAULT_SCOPE.stage_tag("app"))
    if older:
        saved(layout, "older", generation=1)
    stage_caches = shelf_of(layout)
    assert len(stage_caches.warnings) == 1
    assert (stage_caches.healed_stages, stage_caches.is_damaged(DEFAULT_SCOPE), stage_caches.has_stage("app")) == (
        (),
        True,
        older,
    )
    assert not stage_caches.is_damaged(BRANCH), "what another scope holds is not ours to write"
    before = layout.read_manifest("cache-app")
    repair_refs(layout, stage_caches, DEFAULT_SCOPE)
    mended = shelf_of(layout)
    assert mended.is_damaged(DEFAULT_SCOPE) == bool(mended.warnings) == (not older)
    assert mended.blob_sizes().keys() == ({digest("older")} if older else set())
    assert (layout.read_manifest("cache-app") == before) == (not older), "it may have been a cache all the time"


def test_a_config_with_wrong_bytes_is_replaced(tmp_path: Path) -> None:
    """The folder has the blob, but not what its digest says."""
    layout = OciLayout(tmp_path)
    saved(layout, "new")
    saved(layout, "old", generation=1)
    config = config_digest(layout.read_manifest("cache-app") or b"")
    Path(layout.image, "blobs/sha256", config.removeprefix("sha256:")).write_bytes(b"{}")
    stage_caches = shelf_of(layout)
    assert stage_caches.is_damaged(DEFAULT_SCOPE)
    repair_refs(layout, stage_caches, DEFAULT_SCOPE)
    assert shelf_of(layout).warnings == ()


@pytest.mark.parametrize("access", [OWN, Access(reads=(BRANCH, DEFAULT_SCOPE), writes=None)])
def test_a_config_that_cannot_be_read_is_not_an_absent_cache(tmp_path: Path, access: Access) -> None:
    """Nobody knows what it holds: a plan that took the cache for gone would say `rebuild`. What is spoiled is known."""
    layout = OciLayout(tmp_path)
    saved(layout, "new")
    layout.push_manifest(serialize_cache(shelf_of(layout).caches[0].cache), DEFAULT_SCOPE.merged_tag)
    config = config_digest(layout.read_manifest("cache-app") or b"")
    file = Path(layout.image, "blobs/sha256", config.removeprefix("sha256:"))
    file.write_bytes(b"{}")
    assert read_caches(layout, GRAPH, access).read_failure == ""
    file.unlink()
    file.mkdir()
    assert "Is a directory" in read_caches(layout, GRAPH, access).read_failure


def test_saving_the_same_layers_again_pushes_no_older_result_out(tmp_path: Path) -> None:
    """A stage that is saved for its new keys alone keeps the generations that it has; another result moves them on."""
    layout = OciLayout(tmp_path)
    for generation, blob in enumerate(("new", "old", "oldest")):
        saved(layout, blob, generation)
    stage_caches = shelf_of(layout)
    before = {stage_cache.tag: stage_cache.digest for stage_cache in stage_caches.caches}
    rotate_generations(layout, stage_caches, DEFAULT_SCOPE, "app", {digest("new")})
    assert {stage_cache.tag: stage_cache.digest for stage_cache in shelf_of(layout).caches} == before
    rotate_generations(layout, stage_caches, DEFAULT_SCOPE, "app", {digest("newest")})
    after = {stage_cache.tag: stage_cache.digest for stage_cache in shelf_of(layout).caches}
    assert (after["cache1-app"], after["cache2-app"]) == (before["cache-app"], before["cache1-app"])
