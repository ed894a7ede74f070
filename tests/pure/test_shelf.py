"""What a build reads of the caches that there are: where BuildKit does not take all, or the registry is silent."""

from __future__ import annotations

from dataclasses import replace

from stagebake import web
from stagebake.cache import Held, Shelf, without_blobs
from stagebake.compose import Cache
from stagebake.errors import RegistryError, Unreached
from stagebake.scopes import DEFAULT, Scope
from tests.pure.test_compose import cache_of, digest, layer, record

BRANCH = Scope("feature")


def held(tag: str, steps: int, *, scope: Scope = DEFAULT, generation: int = 0) -> Held:
    """A cache of about 130 bytes for each step."""
    records = [record(f"{tag} {number}", layer=0) for number in range(steps)]
    return Held(
        tag=tag, scope=scope, stage=tag, generation=generation, cache=cache_of(layer(f"blob of {tag}"), records=records)
    )


def tags(shelf: Shelf) -> list[str]:
    return [found.tag for found in shelf.caches]


def test_what_fits_is_read_whole() -> None:
    """Nothing is left out without need."""
    shelf = Shelf(caches=(held("a", 10), held("b", 10, generation=1)))
    assert shelf.fitting() is shelf


def test_older_generations_are_left_out_first() -> None:
    """Then farther scopes."""
    new, old = held("new", 10), held("old", 9000, generation=1)
    assert tags(Shelf(caches=(new, old)).fitting()) == ["new"]
    near, far = held("near", 10, scope=BRANCH), held("far", 9000)
    assert tags(Shelf(caches=(near, far)).fitting()) == ["near"]


def test_of_one_scope_the_largest_is_left_out() -> None:
    """One stage that is too large does not take the others with it."""
    shelf = Shelf(caches=(held("small", 10), held("large", 9000), held("middle", 20)))
    assert tags(shelf.fitting()) == ["small", "middle"]


def test_an_emptied_shelf_still_says_what_was_broken() -> None:
    """The broken refs are written anew although the build read nothing."""
    shelf = Shelf(caches=(held("a", 1), held("b", 1)))
    shelf = without_blobs(shelf, frozenset({digest("blob of a")}), poisoned=frozenset({digest("blob of a")}))
    emptied = shelf.emptied("why")
    assert (emptied.healed, emptied.composed(), emptied.warnings) == (("a",), None, ("why",))
    assert emptied.poisoned == {digest("blob of a")}


def test_a_published_cache_with_a_broken_blob_is_not_read_and_that_is_said() -> None:
    """It lies in the registry as it is, so nothing can be left out of it."""
    composed = replace(held("cache", 1), stage=None)
    shelf = without_blobs(
        Shelf(caches=(composed,), published="host/name@sha256:1"),
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

    def ask(key: str) -> Cache:
        asked.append(key)
        raise silent if key.startswith("s") else refused

    names = [str(number) for number in range(100)]
    assert set(web.each(ask, [f"s{name}" for name in names]).values()) == {silent}
    assert len(asked) <= web.PARALLEL
    asked.clear()
    assert set(web.each(ask, names).values()) == {refused}
    assert len(asked) == len(names)
