"""Caches are joined and thinned, and nothing that they hold is lost or outdated by it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import CONFIG_TYPE, InvalidCache, config_digest, layer_sizes, sha256_digest
from stagebake.cache.merge import drop_blobs, merge_caches
from tests.support.caches import (
    BLOBS,
    REAL,
    T1,
    T2,
    T3,
    TIMES,
    blobs_of,
    cache_of,
    caches,
    digest,
    files_of,
    layer,
    plain,
    quick,
    real,
    record,
    results_of,
    rewritten,
)


def test_the_real_caches_share_their_base() -> None:
    """Joined, the caches of five stages hold each step and each blob once, and every result of each."""
    caches = [real(name) for name in REAL]
    joined = merge_caches(caches)
    assert joined.blob_sizes() == {blob: size for cache in caches for blob, size in cache.blob_sizes().items()}
    assert {d for cache in caches for d in results_of(cache)} == set(results_of(joined))
    assert len(joined.records) < sum(len(cache.records) for cache in caches)


def test_join_makes_shared_records_and_layers_once() -> None:
    """The same step and the same blob on the same parent are one, wherever they stand in their configs."""
    one = cache_of(
        layer("base"), layer("a", 0), records=[record("s"), record("base", [0], layer=0), record("a", [1], layer=1)]
    )
    two = cache_of(
        layer("b", 1), layer("base"), records=[record("b", [2], layer=0), record("s"), record("base", [1], layer=1)]
    )
    joined = merge_caches([one, two])
    assert len(joined.layers) == 3
    assert len(joined.records) == 4
    assert results_of(joined) == results_of(one) | results_of(two)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (T1, T3),
        (T1, T2),
        (T2, T3),
        ("2026-01-01T10:00:00.09Z", "2026-01-01T10:00:00.1Z"),
        ("2026-01-01T10:00:00.999999999Z", T3),
        ("2025-12-31T23:59:59Z", T1),
        ("0001-01-01T00:00:00Z", T1),
        ("2026-01-01T11:30:00+02:00", T1),
        (T1, "2026-01-01T09:00:00.25-05:00"),
    ],
    ids=["seconds", "with-fraction", "from-fraction", "short-fraction", "nanoseconds", "year", "zero", "east", "west"],
)
def test_the_newer_result_of_a_step_wins(older: str, newer: str) -> None:
    """Of two results of one step the newer stays; Go writes fractions of any length and the daemon's own offset."""
    caches = [cache_of(layer(at), records=[record("s"), record("r", [0], layer=0, at=at)]) for at in (older, newer)]
    for order in (caches, caches[::-1]):
        assert results_of(merge_caches(order)) == {digest("r"): [[digest(newer)]]}


def test_a_layer_and_a_list_of_that_layer_join_alike_in_any_order() -> None:
    """Of two results of the same time and layers always the same one stays, whichever cache comes first."""
    caches = [
        cache_of(layer("a"), records=[record("s"), entry])
        for entry in (record("r", [0], layer=0), record("r", [0], chain=[0]))
    ]
    assert serialize_cache(merge_caches(caches)) == serialize_cache(merge_caches(caches[::-1]))


def test_a_result_older_than_its_input_is_left_out() -> None:
    """What was made from a result that has been replaced since is no longer true, over any number of steps."""
    old = cache_of(
        layer("a"), layer("b", 0), layer("c", 1),
        records=[
            record("s"), record("a", [0], layer=0, at=T1), record("b", [1], layer=1, at=T1),
            record("c", [2], layer=2, at=T1),
        ],
    )  # fmt: skip
    forced = cache_of(layer("new"), records=[record("s"), record("a", [0], layer=0, at=T2)])
    assert results_of(merge_caches([old, forced])) == {digest("a"): [[digest("new")]]}


def runs(*blobs: tuple[str, str]) -> CacheConfig:
    """What is known when a step `a` gave these blobs one after the other, and `b` was made from the first of them."""
    first, *later = blobs
    above = cache_of(
        layer(first[0]), layer("b", 0),
        records=[record("s"), record("a", [0], layer=0, at=first[1]), record("b", [1], layer=1, at=first[1])],
    )  # fmt: skip
    forced = [cache_of(layer(blob), records=[record("s"), record("a", [0], layer=0, at=at)]) for blob, at in later]
    return merge_caches([above, *forced])


def test_a_step_that_came_out_the_same_outdates_nothing() -> None:
    """A forced step, or one behind a forced one, that gave the same bytes: what was made from them stays true."""
    assert digest("b") in results_of(runs(("a", T1), ("a", T2)))


def test_a_step_that_came_out_the_same_after_another_result_outdates() -> None:
    """In between there was another one, from which `b` may have been made: what came first is proven no more."""
    assert results_of(runs(("a", T1), ("other", T2), ("a", T3))) == {digest("a"): [[digest("a")]]}


def test_a_key_between_does_not_hide_what_is_below() -> None:
    """A step without a result of its own hands on that its input ran again."""
    old = cache_of(
        layer("a"), layer("c"),
        records=[record("s"), record("a", [0], layer=0, at=T1), record("key", [1]), record("c", [2], layer=1, at=T1)],
    )  # fmt: skip
    forced = cache_of(layer("new"), records=[record("s"), record("a", [0], layer=0, at=T2)])
    assert results_of(merge_caches([old, forced])) == {digest("a"): [[digest("new")]]}


@pytest.mark.parametrize("name", ["p", "q", "r", "t"])
def test_one_digest_with_inputs_of_different_number(name: str) -> None:
    """BuildKit writes no such steps; a cache that holds them is joined or refused, and nothing else happens."""
    caches = [
        cache_of(layer("a"), records=[record("s"), record(name, *inputs, layer=0)]) for inputs in ([[0]], [[0], [0]])
    ]
    with contextlib.suppress(InvalidCache):
        assert plain(rewritten(merge_caches(caches))) == plain(merge_caches(caches))


def test_a_source_never_outdates_what_was_made_from_it() -> None:
    """A record without inputs is an image or local files: it does not run, so its time says nothing."""
    cache = cache_of(
        layer("image"), layer("a", 0), records=[record("image", layer=0, at=T3), record("a", [0], layer=1, at=T1)]
    )
    assert set(results_of(merge_caches([cache]))) == {digest("image"), digest("a")}


def test_a_result_as_old_as_its_input_stays() -> None:
    """Equal times are no proof of anything."""
    cache = cache_of(
        layer("a"), layer("b", 0), records=[record("s"), record("a", [0], layer=0), record("b", [1], layer=1)]
    )
    assert merge_caches([cache]) == cache


def test_two_ways_to_write_a_time_join_alike_in_any_order() -> None:
    """A step of no time and one of Go's zero time are as old; always the same of the two stays."""
    caches = [
        cache_of(layer("a"), records=[record("s"), record("r", [0], layer=0, at=at)])
        for at in ("", "0001-01-01T00:00:00Z")
    ]
    assert merge_caches(caches) == merge_caches(caches[::-1])
    both = cache_of(
        layer("a"),
        records=[record("s"), *(record(f"r{i}", [0], layer=0, at=at) for i, at in enumerate(("", TIMES[1])))],
    )
    assert rewritten(both) == both


def test_join_drops_what_leads_to_no_result() -> None:
    """Records without a result above them, and layers of no result, are not carried along."""
    cache = cache_of(layer("a"), layer("loose"), records=[record("s"), record("a", [0], layer=0), record("key", [1])])
    joined = merge_caches([cache])
    assert {entry.digest for entry in joined.records.values()} == {digest("s"), digest("a")}
    assert set(joined.blob_sizes()) == {digest("a")}


def test_joining_nothing_is_an_empty_cache() -> None:
    """No caches make a cache that says nothing, and it can be written."""
    assert merge_caches([]) == CacheConfig()
    assert rewritten(CacheConfig()) == CacheConfig()


def test_without_blobs_drops_what_stands_on_them() -> None:
    """Every result whose chain touches the blob goes, with the layers only those used; the keys of others stay."""
    cache = cache_of(
        layer("base"), layer("bad", 0), layer("on-bad", 1), layer("good", 0), layer("last", 3),
        records=[
            record("s"),
            record("base", [0], layer=0),
            record("bad", [1], layer=1),
            record("on-bad", [2], layer=2),
            record("good", [1], layer=3),
            record("last", [4], [2], layer=4),
        ],
    )  # fmt: skip
    healed = drop_blobs(cache, frozenset({digest("bad")}))
    assert set(results_of(healed)) == {digest("base"), digest("good"), digest("last")}
    assert set(healed.blob_sizes()) == {digest(name) for name in ("base", "good", "last")}
    assert {entry.digest for entry in healed.records.values()} == {
        digest(name) for name in ("s", "base", "bad", "good", "last")
    }
    assert plain(rewritten(healed)) == plain(healed)


def test_without_blobs_drops_a_list_of_layers_with_one_bad_one() -> None:
    """A result of several layers is lost with any of them."""
    cache = cache_of(layer("a"), layer("b"), records=[record("s"), record("r", [0], chain=[0, 1])])
    assert drop_blobs(cache, frozenset({digest("b")})) == CacheConfig()


def test_without_foreign_blobs_nothing_changes() -> None:
    """Blobs that the cache does not hold change nothing."""
    assert drop_blobs(real("runtime"), frozenset({digest("foreign")})) == real("runtime")


def test_the_same_content_gives_the_same_bytes() -> None:
    """The order in which things stand in the files, and in which caches are joined, does not show."""
    caches = [real(name) for name in REAL]
    assert serialize_cache(merge_caches(caches)) == serialize_cache(merge_caches(caches[::-1]))


def test_descriptors_of_one_blob_that_differ_give_the_same_bytes_in_any_order() -> None:
    """Runners note different times beside the same blob; the digest of what is composed must not flicker for it."""
    caches = []
    for parent, stamp in (("x", "1"), ("y", "2")):
        manifest, config = files_of(
            {"layers": [layer(parent), layer("same", 0)], "records": [record("s"), record(parent, [0], layer=1)]}
        )
        document = json.loads(manifest)
        document["layers"][1]["annotations"] = {"buildkit/createdat": stamp}
        caches.append(parse_cache(json.dumps(document).encode(), config))
    assert serialize_cache(merge_caches(caches)) == serialize_cache(merge_caches(caches[::-1]))


def test_the_manifest_names_config_and_blobs() -> None:
    """The manifest is an ordinary OCI manifest: the config by digest and size, each blob once."""
    document = serialize_cache(merge_caches(real(name) for name in REAL))
    manifest = json.loads(document.manifest)
    assert manifest["config"] == {
        "mediaType": CONFIG_TYPE,
        "digest": sha256_digest(document.config),
        "size": len(document.config),
    }
    assert config_digest(document.manifest) == sha256_digest(document.config)
    assert document.digest == sha256_digest(document.manifest)
    digests = [entry["digest"] for entry in manifest["layers"]]
    assert len(digests) == len(set(digests))
    assert layer_sizes(document.manifest) == merge_caches(real(name) for name in REAL).blob_sizes()


def chain_of(length: int, order: Callable[[int], int]) -> tuple[bytes, bytes]:
    """A cache whose layers and records each stand on the one before, written at the places that `order` gives."""
    layers: list[dict[str, Any]] = [{}] * length
    records: list[dict[str, Any]] = [{}] * length
    for i in range(length):
        below = order(i - 1) if i else -1
        layers[order(i)] = layer(f"blob {i}", below)
        records[order(i)] = record(f"step {i}", *([[below]] if i else []), layer=order(i))
    return files_of({"layers": layers, "records": records})


def use(manifest: bytes, config: bytes, blob: str) -> CacheConfig:
    """Everything that is done with a cache, one after the other."""
    joined = merge_caches([merge_caches([parse_cache(manifest, config)])])
    drop_blobs(joined, frozenset({digest(blob)}))
    return rewritten(joined)


@pytest.mark.parametrize("downwards", [False, True], ids=["from-the-bottom", "from-the-top"])
def test_a_deep_cache_works(downwards: bool) -> None:
    """600 steps, one on the other, in whichever order they are written, are a cache like any other."""
    length = 600
    cache = use(*chain_of(length, (lambda i: length - 1 - i) if downwards else (lambda i: i)), "blob 300")
    assert len(cache.records) == length


def test_a_bottomless_cache_works_or_is_refused() -> None:
    """5,000 layers and records, one on the other, never end in a RecursionError."""
    length = 5_000
    with contextlib.suppress(InvalidCache):
        use(*chain_of(length, lambda i: length - 1 - i), "blob 0")


@quick
@given(st.lists(caches, max_size=3))
def test_every_index_that_is_written_is_valid(several: list[CacheConfig]) -> None:
    """BuildKit drops a whole cache for one wrong index: each points at something, and never in a circle."""
    document = serialize_cache(merge_caches(several))
    config, manifest = json.loads(document.config), json.loads(document.manifest)
    layers, records = range(len(config["layers"])), range(len(config["records"]))
    assert {entry["blob"] for entry in config["layers"]} == {entry["digest"] for entry in manifest["layers"]}
    assert all(entry["parent"] == -1 or entry["parent"] in layers for entry in config["layers"])
    for entry in config["records"]:
        assert all(link["link"] in records for links in entry.get("inputs", []) for link in links)
        assert all(result["layer"] in layers for result in entry.get("layers", []))
        assert all(index in layers for result in entry.get("chains", []) for index in result["layers"])


@quick
@given(caches, caches)
def test_join_is_commutative(one: CacheConfig, two: CacheConfig) -> None:
    """The order of the caches does not matter."""
    assert merge_caches([one, two]) == merge_caches([two, one])
    assert serialize_cache(merge_caches([one, two])) == serialize_cache(merge_caches([two, one]))


@quick
@given(caches)
def test_join_is_idempotent(cache: CacheConfig) -> None:
    """A cache joined with itself, or joined again, says nothing new."""
    once = merge_caches([cache])
    assert merge_caches([cache, cache]) == once
    assert merge_caches([once]) == once


@quick
@given(caches, st.sets(st.sampled_from(BLOBS), min_size=1, max_size=2))
def test_without_blobs_keeps_exactly_the_results_that_do_not_touch_them(cache: CacheConfig, names: set[str]) -> None:
    """Each result stays or goes by its own layers alone; no blob is left of those that were taken out."""
    bad = frozenset(digest(name) for name in names)
    healed = drop_blobs(cache, bad)
    if not bad & cache.blob_sizes().keys():
        assert healed == cache
        return
    kept = {
        identity
        for identity, entry in cache.records.items()
        if entry.result and not any(bad & set(blobs_of(cache, chain)) for chain in entry.result.layers)
    }
    assert {identity for identity, entry in healed.records.items() if entry.result} == kept
    assert all(healed.records[identity] == cache.records[identity] for identity in kept)
    assert not bad & healed.blob_sizes().keys()
    assert {link.record for entry in healed.records.values() for links in entry.inputs for link in links} <= set(
        healed.records
    )
    assert plain(rewritten(healed)) == plain(healed)
