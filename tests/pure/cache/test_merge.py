"""Test that merging caches and dropping blobs neither loses a valid result nor keeps an outdated one."""

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


def build_step(name: str, blob: str, at: str = T1) -> CacheConfig:
    """Return a cache with a source and one step on top of it, whose result is one layer."""
    return cache_of(layer(blob), records=[record("s"), record(name, [0], layer=0, at=at)])


def build_chain(*names: str, at: str = T1) -> CacheConfig:
    """Return a cache with a source and steps on top of each other. Each has a layer of its own name."""
    layers = []
    records = [record("s")]
    for index, name in enumerate(names):
        layers.append(layer(name, index - 1))
        records.append(record(name, [index], layer=index, at=at))
    return cache_of(*layers, records=records)


def digests_of(*names: str) -> set[str]:
    return {digest(name) for name in names}


def test_merge_real_caches_keeps_every_result_and_shares_records() -> None:
    parts = [real(name) for name in REAL]
    merged = merge_caches(parts)
    sizes: dict[str, int] = {}
    steps: set[str] = set()
    for part in parts:
        sizes.update(part.blob_sizes())
        steps.update(results_of(part))
    assert merged.blob_sizes() == sizes
    assert set(results_of(merged)) == steps
    assert len(merged.records) < sum(len(part.records) for part in parts)


def test_merge_same_step_at_other_index_is_one_record() -> None:
    """Recognize the same step, and the same blob on the same parent, wherever they are in their files."""
    first = build_chain("base", "a")
    second = cache_of(
        layer("b", 1),
        layer("base"),
        records=[
            record("b", [2], layer=0),
            record("s"),
            record("base", [1], layer=1),
        ],
    )
    merged = merge_caches([first, second])
    assert len(merged.layers) == 3
    assert len(merged.records) == 4
    assert results_of(merged) == results_of(first) | results_of(second)


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
def test_merge_two_results_of_a_step_keeps_the_newer(older: str, newer: str) -> None:
    """Compare times as Go writes them: with a fraction of any length, in the daemon's time zone."""
    parts = [build_step("r", blob=time, at=time) for time in (older, newer)]
    expected = {digest("r"): [[digest(newer)]]}
    assert results_of(merge_caches(parts)) == expected
    assert results_of(merge_caches(parts[::-1])) == expected


def test_merge_layer_and_list_of_that_layer_is_independent_of_order() -> None:
    """Choose the same result in any order where time and layers are equal."""
    single = build_step("r", "a")
    listed = cache_of(layer("a"), records=[record("s"), record("r", [0], chain=[0])])
    merged = merge_caches([single, listed])
    assert serialize_cache(merged) == serialize_cache(merge_caches([listed, single]))


def test_merge_result_older_than_its_input_is_dropped() -> None:
    """Drop what was made from a replaced result, over any number of steps."""
    old = build_chain("a", "b", "c")
    forced = build_step("a", blob="new", at=T2)
    assert results_of(merge_caches([old, forced])) == {digest("a"): [[digest("new")]]}


def merge_runs(first: tuple[str, str], *later: tuple[str, str]) -> CacheConfig:
    """Merge the caches of several runs of step `a`, each a blob and a time; step `b` was made from the first one."""
    blob, time = first
    records = [
        record("s"),
        record("a", [0], layer=0, at=time),
        record("b", [1], layer=1, at=time),
    ]
    chain = cache_of(layer(blob), layer("b", 0), records=records)
    reruns = [build_step("a", blob=blob, at=time) for blob, time in later]
    return merge_caches([chain, *reruns])


def test_merge_rerun_with_equal_result_keeps_dependents() -> None:
    """Keep what was made from a step that gave the same bytes when it was forced."""
    assert digest("b") in results_of(merge_runs(("a", T1), ("a", T2)))


def test_merge_rerun_with_equal_result_after_another_drops_dependents() -> None:
    """Drop `b`, which may have been made from the result in between."""
    merged = merge_runs(("a", T1), ("other", T2), ("a", T3))
    assert results_of(merged) == {digest("a"): [[digest("a")]]}


def test_merge_step_without_result_passes_the_change_on() -> None:
    old = cache_of(
        layer("a"),
        layer("c"),
        records=[
            record("s"),
            record("a", [0], layer=0, at=T1),
            record("key", [1]),
            record("c", [2], layer=1, at=T1),
        ],
    )
    forced = build_step("a", blob="new", at=T2)
    assert results_of(merge_caches([old, forced])) == {digest("a"): [[digest("new")]]}


@pytest.mark.parametrize("name", ["p", "q", "r", "t"])
def test_merge_one_digest_with_other_number_of_inputs_is_merged_or_invalid(name: str) -> None:
    """Raise nothing but InvalidCache for steps that BuildKit never writes."""
    parts = []
    for inputs in ([[0]], [[0], [0]]):
        step = record(name, *inputs, layer=0)
        parts.append(cache_of(layer("a"), records=[record("s"), step]))
    with contextlib.suppress(InvalidCache):
        merged = merge_caches(parts)
        assert plain(rewritten(merged)) == plain(merged)


def test_merge_newer_source_keeps_dependents() -> None:
    """Ignore the time of a record without inputs: an image or local files do not run."""
    records = [record("image", layer=0, at=T3), record("a", [0], layer=1, at=T1)]
    cache = cache_of(layer("image"), layer("a", 0), records=records)
    assert set(results_of(merge_caches([cache]))) == digests_of("image", "a")


def test_merge_result_of_equal_time_as_its_input_is_kept() -> None:
    cache = build_chain("a", "b")
    assert merge_caches([cache]) == cache


def test_merge_two_spellings_of_a_time_is_independent_of_order() -> None:
    """Treat a missing time and Go's zero time as equally old, and always choose the same result."""
    parts = [build_step("r", "a", at=time) for time in ("", "0001-01-01T00:00:00Z")]
    assert merge_caches(parts) == merge_caches(parts[::-1])
    records = [
        record("s"),
        record("r0", [0], layer=0, at=""),
        record("r1", [0], layer=0, at="0001-01-01T00:00:00Z"),
    ]
    both = cache_of(layer("a"), records=records)
    assert rewritten(both) == both


def test_merge_records_and_layers_without_result_are_dropped() -> None:
    records = [record("s"), record("a", [0], layer=0), record("key", [1])]
    merged = merge_caches([cache_of(layer("a"), layer("loose"), records=records)])
    assert {entry.digest for entry in merged.records.values()} == digests_of("s", "a")
    assert set(merged.blob_sizes()) == {digest("a")}


def test_merge_no_caches_is_an_empty_cache() -> None:
    assert merge_caches([]) == CacheConfig()
    assert rewritten(CacheConfig()) == CacheConfig()


def test_drop_blobs_result_on_top_of_blob_is_dropped() -> None:
    """Drop every result whose chain contains the blob and the layers only it used; keep the keys of other results."""
    cache = cache_of(
        layer("base"),
        layer("bad", 0),
        layer("on-bad", 1),
        layer("good", 0),
        layer("last", 3),
        records=[
            record("s"),
            record("base", [0], layer=0),
            record("bad", [1], layer=1),
            record("on-bad", [2], layer=2),
            record("good", [1], layer=3),
            record("last", [4], [2], layer=4),
        ],
    )
    remaining = drop_blobs(cache, frozenset({digest("bad")}))
    assert set(results_of(remaining)) == digests_of("base", "good", "last")
    assert set(remaining.blob_sizes()) == digests_of("base", "good", "last")
    steps = {entry.digest for entry in remaining.records.values()}
    assert steps == digests_of("s", "base", "bad", "good", "last")
    assert plain(rewritten(remaining)) == plain(remaining)


def test_drop_blobs_list_of_layers_with_one_bad_is_dropped() -> None:
    records = [record("s"), record("r", [0], chain=[0, 1])]
    cache = cache_of(layer("a"), layer("b"), records=records)
    assert drop_blobs(cache, frozenset({digest("b")})) == CacheConfig()


def test_drop_blobs_of_another_cache_changes_nothing() -> None:
    assert drop_blobs(real("runtime"), frozenset({digest("foreign")})) == real("runtime")


def test_merge_same_content_in_any_order_has_the_same_bytes() -> None:
    parts = [real(name) for name in REAL]
    assert serialize_cache(merge_caches(parts)) == serialize_cache(merge_caches(parts[::-1]))


def test_merge_other_descriptors_of_a_blob_in_any_order_has_the_same_bytes() -> None:
    """Ignore the order of runners that write different times beside the same blob: the digest must not change."""
    parts = []
    for parent, stamp in (("x", "1"), ("y", "2")):
        records = [record("s"), record(parent, [0], layer=1)]
        manifest, config = files_of({"layers": [layer(parent), layer("same", 0)], "records": records})
        document = json.loads(manifest)
        document["layers"][1]["annotations"] = {"buildkit/createdat": stamp}
        parts.append(parse_cache(json.dumps(document).encode(), config))
    assert serialize_cache(merge_caches(parts)) == serialize_cache(merge_caches(parts[::-1]))


def test_serialize_merged_cache_manifest_names_config_and_blobs() -> None:
    """Write an ordinary OCI manifest: the config with digest and size, each blob once."""
    merged = merge_caches(real(name) for name in REAL)
    document = serialize_cache(merged)
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
    assert layer_sizes(document.manifest) == merged.blob_sizes()


def write_deep_chain(length: int, order: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Return manifest and config of layers and records on top of each other, each at the index that `order` gives."""
    layers: list[dict[str, Any]] = [{}] * length
    records: list[dict[str, Any]] = [{}] * length
    for number in range(length):
        index = order(number)
        if number == 0:
            layers[index] = layer("blob 0")
            records[index] = record("step 0", layer=index)
            continue
        below = order(number - 1)
        layers[index] = layer(f"blob {number}", below)
        records[index] = record(f"step {number}", [below], layer=index)
    return files_of({"layers": layers, "records": records})


def use_everything(manifest: bytes, config: bytes, blob: str) -> CacheConfig:
    """Parse, merge twice, drop a blob, write and read again."""
    merged = merge_caches([merge_caches([parse_cache(manifest, config)])])
    drop_blobs(merged, frozenset({digest(blob)}))
    return rewritten(merged)


@pytest.mark.parametrize("downwards", [False, True], ids=["from-the-bottom", "from-the-top"])
def test_merge_deep_cache_works(downwards: bool) -> None:
    """Handle 600 steps on top of each other, in either order in the file."""
    length = 600

    def order(number: int) -> int:
        return length - 1 - number if downwards else number

    cache = use_everything(*write_deep_chain(length, order), "blob 300")
    assert len(cache.records) == length


def test_merge_very_deep_cache_works_or_is_invalid() -> None:
    """Never raise RecursionError for 5,000 layers and records on top of each other."""
    length = 5_000
    with contextlib.suppress(InvalidCache):
        use_everything(*write_deep_chain(length, lambda number: length - 1 - number), "blob 0")


@quick
@given(st.lists(caches, max_size=3))
def test_serialize_merged_cache_writes_valid_indexes_only(several: list[CacheConfig]) -> None:
    """Write no index out of range: BuildKit would ignore the whole cache."""
    document = serialize_cache(merge_caches(several))
    config = json.loads(document.config)
    manifest = json.loads(document.manifest)
    layers = range(len(config["layers"]))
    records = range(len(config["records"]))
    assert {entry["blob"] for entry in config["layers"]} == {entry["digest"] for entry in manifest["layers"]}
    assert all(entry["parent"] == -1 or entry["parent"] in layers for entry in config["layers"])
    for entry in config["records"]:
        for alternatives in entry.get("inputs", []):
            assert all(link["link"] in records for link in alternatives)
        for result in entry.get("layers", []):
            assert result["layer"] in layers
        for result in entry.get("chains", []):
            assert all(index in layers for index in result["layers"])


@quick
@given(caches, caches)
def test_merge_is_commutative(first: CacheConfig, second: CacheConfig) -> None:
    merged = merge_caches([first, second])
    reverse = merge_caches([second, first])
    assert merged == reverse
    assert serialize_cache(merged) == serialize_cache(reverse)


@quick
@given(caches)
def test_merge_is_idempotent(cache: CacheConfig) -> None:
    """Add nothing where a cache is merged with itself, or merged again."""
    once = merge_caches([cache])
    assert merge_caches([cache, cache]) == once
    assert merge_caches([once]) == once


@quick
@given(caches, st.sets(st.sampled_from(BLOBS), min_size=1, max_size=2))
def test_drop_blobs_keeps_exactly_the_results_without_them(cache: CacheConfig, names: set[str]) -> None:
    """Judge each result by its own layers alone; leave none of the dropped blobs."""
    bad = frozenset(digest(name) for name in names)
    remaining = drop_blobs(cache, bad)
    if bad.isdisjoint(cache.blob_sizes()):
        assert remaining == cache
        return
    expected = set()
    for identity, entry in cache.records.items():
        if entry.result and all(bad.isdisjoint(blobs_of(cache, top)) for top in entry.result.layers):
            expected.add(identity)
    assert {identity for identity, entry in remaining.records.items() if entry.result} == expected
    assert all(remaining.records[identity] == cache.records[identity] for identity in expected)
    assert bad.isdisjoint(remaining.blob_sizes())
    for entry in remaining.records.values():
        assert set(entry.links) <= set(remaining.records)
    assert plain(rewritten(remaining)) == plain(remaining)
