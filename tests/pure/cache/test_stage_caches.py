"""What a build reads of the caches that there are: where BuildKit does not take all, or the registry is silent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stagebake.cache.manifest import CacheConfig, build_artifact, config_digest, serialize_cache
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope
from stagebake.cache.stage_caches import (
    StageCache,
    StageCaches,
    drop_broken_blobs,
    read_caches,
    repair_refs,
    rotate_generations,
)
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import RegistryError, Unreached
from stagebake.stores.http import PARALLEL, fetch_all
from stagebake.stores.oci_layout import OciLayout
from tests.support.caches import cache_of, digest, layer, record

BRANCH = Scope("feature")


def held(tag: str, steps: int, *, scope: Scope = DEFAULT_SCOPE, generation: int = 0) -> StageCache:
    """A cache of about 130 bytes for each step."""
    records = [record(f"{tag} {number}", layer=0) for number in range(steps)]
    return StageCache(
        tag=tag, scope=scope, stage=tag, generation=generation, cache=cache_of(layer(f"blob of {tag}"), records=records)
    )


def tags(shelf: StageCaches) -> list[str]:
    return [found.tag for found in shelf.caches]


def test_what_fits_is_read_whole() -> None:
    """Nothing is left out without need."""
    shelf = StageCaches(caches=(held("a", 10), held("b", 10, generation=1)))
    assert shelf.fitting() is shelf


def test_older_generations_are_left_out_first() -> None:
    """Then farther scopes."""
    new, old = held("new", 10), held("old", 9000, generation=1)
    assert tags(StageCaches(caches=(new, old)).fitting()) == ["new"]
    near, far = held("near", 10, scope=BRANCH), held("far", 9000)
    assert tags(StageCaches(caches=(near, far)).fitting()) == ["near"]


def test_of_one_scope_the_largest_is_left_out() -> None:
    """One stage that is too large does not take the others with it."""
    shelf = StageCaches(caches=(held("small", 10), held("large", 9000), held("middle", 20)))
    assert tags(shelf.fitting()) == ["small", "middle"]


def test_an_emptied_shelf_still_says_what_was_broken() -> None:
    """The broken refs are written anew although the build read nothing."""
    shelf = StageCaches(caches=(held("a", 1), held("b", 1)))
    shelf = drop_broken_blobs(shelf, frozenset({digest("blob of a")}), poisoned=frozenset({digest("blob of a")}))
    emptied = shelf.emptied("why")
    assert (emptied.healed, emptied.composed(), emptied.warnings) == (("a",), None, ("why",))
    assert emptied.poisoned == {digest("blob of a")}


def test_a_published_cache_with_a_broken_blob_is_not_read_and_that_is_said() -> None:
    """It lies in the registry as it is, so nothing can be left out of it."""
    composed = replace(held("cache", 1), stage=None)
    shelf = drop_broken_blobs(
        StageCaches(caches=(composed,), published="host/name@sha256:1"),
        frozenset(composed.cache.blobs()),
        poisoned=frozenset(composed.cache.blobs()),
    )
    assert shelf.published is None
    assert shelf.poisoned == composed.cache.blobs().keys(), "what is rebuilt may not become the same blob"
    assert shelf.caches == ()
    (warning,) = shelf.warnings
    assert "cache is left out" in warning
    assert digest("blob of cache") in warning


def test_a_server_that_does_not_answer_is_not_asked_for_the_rest() -> None:
    """Each that is not asked gets the same error; one that refuses is asked for all."""
    silent, refused = Unreached("silent", "wait"), RegistryError("refused", "log in")
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
    layout.put(serialize_cache(made), DEFAULT_SCOPE.stage_tag("app", generation))


def layer_size(blob: str) -> int:
    return cache_of(layer(blob), records=[record(blob, layer=0)]).blobs()[digest(blob)]


def shelf_of(layout: OciLayout) -> StageCaches:
    return read_caches(layout, GRAPH, OWN)


def test_healing_ends_although_nothing_is_left_of_a_stage(tmp_path: Path) -> None:
    """The ref is written anew without what is gone: the next build has nothing to heal and nothing to say."""
    layout = OciLayout(tmp_path)
    saved(layout, "gone", there=False)
    broken = shelf_of(layout)
    assert (broken.healed, broken.damaged(DEFAULT_SCOPE), broken.has("app")) == (("app",), True, True)
    repair_refs(layout, broken, DEFAULT_SCOPE)
    mended = shelf_of(layout)
    assert (mended.healed, mended.damaged(DEFAULT_SCOPE), mended.warnings) == ((), False, ())
    assert mended.has("app"), "saving a stage that did not run would run it"


@pytest.mark.parametrize("older", [False, True])
def test_a_ref_that_holds_something_else_is_replaced(tmp_path: Path, older: bool) -> None:
    """It is named once. Where an older result is whole the ref takes that, else the stage is saved anew."""
    layout = OciLayout(tmp_path)
    layout.put(build_artifact(b"{}", "text/plain"), DEFAULT_SCOPE.stage_tag("app"))
    if older:
        saved(layout, "older", generation=1)
    shelf = shelf_of(layout)
    assert len(shelf.warnings) == 1
    assert (shelf.healed, shelf.damaged(DEFAULT_SCOPE), shelf.has("app")) == ((), True, older)
    assert not shelf.damaged(BRANCH), "what another scope holds is not ours to write"
    before = layout.manifest("cache-app")
    repair_refs(layout, shelf, DEFAULT_SCOPE)
    mended = shelf_of(layout)
    assert mended.damaged(DEFAULT_SCOPE) == bool(mended.warnings) == (not older)
    assert mended.blobs().keys() == ({digest("older")} if older else set())
    assert (layout.manifest("cache-app") == before) == (not older), "it may have been a cache all the time"


def test_a_config_with_wrong_bytes_is_replaced(tmp_path: Path) -> None:
    """The folder has the blob, but not what its digest says."""
    layout = OciLayout(tmp_path)
    saved(layout, "new")
    saved(layout, "old", generation=1)
    config = config_digest(layout.manifest("cache-app") or b"")
    Path(layout.image, "blobs/sha256", config.removeprefix("sha256:")).write_bytes(b"{}")
    shelf = shelf_of(layout)
    assert shelf.damaged(DEFAULT_SCOPE)
    repair_refs(layout, shelf, DEFAULT_SCOPE)
    assert shelf_of(layout).warnings == ()


@pytest.mark.parametrize("access", [OWN, Access(reads=(BRANCH, DEFAULT_SCOPE), writes=None)])
def test_a_config_that_cannot_be_read_is_not_an_absent_cache(tmp_path: Path, access: Access) -> None:
    """Nobody knows what it holds: a plan that took the cache for gone would say `rebuild`. What is spoiled is known."""
    layout = OciLayout(tmp_path)
    saved(layout, "new")
    layout.put(serialize_cache(shelf_of(layout).caches[0].cache), DEFAULT_SCOPE.composed_tag)
    config = config_digest(layout.manifest("cache-app") or b"")
    file = Path(layout.image, "blobs/sha256", config.removeprefix("sha256:"))
    file.write_bytes(b"{}")
    assert read_caches(layout, GRAPH, access).unread == ""
    file.unlink()
    file.mkdir()
    assert "Is a directory" in read_caches(layout, GRAPH, access).unread


def test_saving_the_same_layers_again_pushes_no_older_result_out(tmp_path: Path) -> None:
    """A stage that is saved for its new keys alone keeps the generations that it has; another result moves them on."""
    layout = OciLayout(tmp_path)
    for generation, blob in enumerate(("new", "old", "oldest")):
        saved(layout, blob, generation)
    shelf = shelf_of(layout)
    before = {held.tag: held.digest for held in shelf.caches}
    rotate_generations(layout, shelf, DEFAULT_SCOPE, "app", {digest("new")})
    assert {held.tag: held.digest for held in shelf_of(layout).caches} == before
    rotate_generations(layout, shelf, DEFAULT_SCOPE, "app", {digest("newest")})
    after = {held.tag: held.digest for held in shelf_of(layout).caches}
    assert (after["cache1-app"], after["cache2-app"]) == (before["cache-app"], before["cache1-app"])
