"""Test that cache configs are read and written without a change of their content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import InvalidCache
from tests.support.caches import (
    CACHES,
    REAL,
    T1,
    T2,
    T3,
    Raw,
    cache_of,
    caches,
    config_of,
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

# Cache with a source and one step on top of it
SMALL: Raw = {
    "layers": [layer("a")],
    "records": [
        record("s"),
        record("r", [0], layer=0),
    ],
}


def test_parse_cache_missing_numbers_are_zero() -> None:
    """Read a missing `parent`, `link` or `layer` as 0; only -1 means "no parent"."""
    cache = cache_of(
        layer("bottom"),
        {"blob": digest("top")},
        records=[
            record("source"),
            {"digest": digest("first"), "inputs": [[{}]], "layers": [{"createdAt": T1}]},
            {"digest": digest("second"), "inputs": [[{"link": 1}]], "layers": [{"layer": 1, "createdAt": T1}]},
        ],
    )
    assert results_of(cache) == {
        digest("first"): [[digest("bottom")]],
        digest("second"): [[digest("top"), digest("bottom")]],
    }
    (first,) = (entry for entry in cache.records.values() if entry.digest == digest("first"))
    ((link,),) = first.inputs
    assert cache.records[link.record].digest == digest("source")


def test_serialize_cache_writes_every_number() -> None:
    """Write zeros too, so that a reader need not know what a missing number means."""
    config = config_of(parse_cache(*files_of(SMALL)))
    assert all("parent" in entry for entry in config["layers"])
    for entry in config["records"]:
        assert all("layer" in result for result in entry.get("layers", []))
        for alternatives in entry.get("inputs", []):
            assert all("link" in link for link in alternatives)


@pytest.mark.parametrize("name", REAL)
def test_parse_cache_of_buildkit_is_complete_and_survives_writing(name: str) -> None:
    raw = json.loads((CACHES / f"{name}.config.json").read_bytes())
    cache = real(name)
    assert len(cache.layers) == len(raw["layers"])
    assert len(cache.records) == len(raw["records"])
    with_result = [entry for entry in cache.records.values() if entry.result is not None]
    assert len(with_result) == sum("layers" in entry for entry in raw["records"])
    assert rewritten(cache) == cache


def test_parse_cache_same_blob_on_another_parent_is_another_layer() -> None:
    cache = cache_of(
        layer("x"), layer("y"), layer("top", 0), layer("top", 1),
        records=[record("s"), record("a", [0], layer=2), record("b", [0], layer=3)],
    )  # fmt: skip
    assert results_of(rewritten(cache)) == {
        digest("a"): [[digest("top"), digest("x")]],
        digest("b"): [[digest("top"), digest("y")]],
    }


def test_parse_cache_several_results_newest_one_counts() -> None:
    entry = record("r", [0])
    entry["layers"] = [{"layer": index, "createdAt": time} for index, time in enumerate((T2, T3, T1))]
    cache = cache_of(*map(layer, "abc"), records=[record("s"), entry])
    assert results_of(cache) == {digest("r"): [[digest("b")]]}


@pytest.mark.parametrize("size", ["1e999", "-1e999", "NaN", '"x"', "null"])
def test_parse_cache_size_without_meaning_is_invalid(size: str) -> None:
    """Refuse numbers that JSON allows but no blob can have."""
    manifest, config = files_of(SMALL)
    changed = manifest.replace(b'"size": 7', b'"size": ' + size.encode())
    with pytest.raises(InvalidCache):
        parse_cache(changed, config)


def test_serialize_cache_result_of_several_layers_keeps_their_order() -> None:
    """Read and write `chains` in the order of the file."""
    records = [record("s"), record("r", [0], chain=[2, 0, 1])]
    cache = cache_of(layer("a"), layer("b"), layer("c"), records=records)
    expected = [[digest(name)] for name in ("c", "a", "b")]
    assert results_of(rewritten(cache)) == {digest("r"): expected}
    assert rewritten(cache) == cache


def test_serialize_cache_keeps_selectors_annotations_and_descriptors() -> None:
    notes = {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "size": 3}
    step = {
        "digest": digest("r"),
        "inputs": [[{"selector": digest("path")}]],
        "layers": [{}],
    }
    raw: Raw = {
        "layers": [layer("a", annotations=notes)],
        "records": [record("s"), step],
    }
    cache = rewritten(parse_cache(*files_of(raw)))
    (only,) = cache.layers.values()
    assert only.notes == notes
    assert only.descriptor["size"] == 7
    links = [link for entry in cache.records.values() for (link,) in entry.inputs]
    assert [link.selector for link in links] == [digest("path")]
    assert cache.blob_sizes() == {digest("a"): 7}


@pytest.mark.parametrize(
    "raw",
    [
        {"layers": [layer("a", 1)]},
        {"layers": [layer("a", 7)]},
        {"layers": [layer("a", -2)]},
        {"layers": [layer("a", 0)]},
        {"layers": [{"blob": digest("a")}]},
        {"layers": [layer("a", 1), layer("b", 0)]},
        {"layers": [layer("a", "0")]},  # type: ignore[arg-type]
        {"layers": [{"parent": -1}]},
        {"layers": [layer("a")], "records": [record("r", layer=1)]},
        {"layers": [layer("a")], "records": [record("r", layer=-1)]},
        {"layers": [layer("a")], "records": [record("r", chain=[0, 1])]},
        {"layers": [layer("a")], "records": [record("r", chain=[-1])]},
        {"layers": [layer("a")], "records": [{"digest": digest("r"), "chains": [{}]}]},
        {"records": [record("r", layer=0)]},
        {"records": [record("r", [1])]},
        {"records": [record("s"), record("r", [-1])]},
        {"records": [record("r", [0])]},
        {"records": [{"digest": digest("r"), "inputs": [[{}]]}]},
        {"records": [record("r", [1]), record("q", [0])]},
        {"records": [{}]},
        {"records": ["r"]},
        {"records": [{"digest": digest("r"), "inputs": 3}]},
        {"layers": {}, "records": {"a": 1}},
        {"layers": [layer("a", 0.0)]},  # type: ignore[arg-type]
        {"layers": [layer("a")], "records": [record("r", layer=None)]},
        {"layers": [layer("a")], "records": [record("r", layer=0, at=3)]},  # type: ignore[arg-type]
    ],
    ids=[
        "parent-too-large", "parent-far-too-large", "parent-minus-two", "parent-itself",
        "parent-missing-of-only-layer", "parents-in-a-cycle", "parent-a-string", "no-blob", "layer-too-large",
        "layer-negative", "chain-too-large", "chain-negative", "chain-without-layers", "no-layers-at-all",
        "link-too-large", "link-negative", "link-itself",
        "link-missing-of-only-record", "links-in-a-cycle", "no-digest", "record-a-string", "inputs-a-number",
        "records-an-object", "parent-a-fraction", "layer-null", "time-a-number",
    ],
)  # fmt: skip
def test_parse_cache_inconsistent_config_is_invalid(raw: Any) -> None:
    """Refuse a config that BuildKit would refuse."""
    manifest = json.dumps({"layers": [{"digest": digest(name), "size": 7} for name in "ab"]}).encode()
    with pytest.raises(InvalidCache):
        parse_cache(manifest, json.dumps(raw).encode())


def test_parse_cache_layer_missing_from_manifest_is_invalid() -> None:
    _, config = files_of({"layers": [layer("a")], "records": [record("r", layer=0)]})
    with pytest.raises(InvalidCache):
        parse_cache(b'{"layers": []}', config)


def test_parse_cache_blob_without_size_is_zero_bytes_or_invalid() -> None:
    """Raise nothing but InvalidCache for a descriptor without `size`."""
    manifest, config = files_of(SMALL)
    document = json.loads(manifest)
    del document["layers"][0]["size"]
    try:
        sizes = parse_cache(json.dumps(document).encode(), config).blob_sizes()
    except InvalidCache:
        return
    assert sizes == {digest("a"): 0}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"null", b'"x"', b"404 page not found"], ids=repr)
def test_parse_cache_other_content_than_object_is_invalid(data: bytes) -> None:
    manifest, config = files_of({"layers": [], "records": []})
    with pytest.raises(InvalidCache):
        parse_cache(data, config)
    with pytest.raises(InvalidCache):
        parse_cache(manifest, data)


@quick
@given(caches)
def test_serialize_cache_then_parse_returns_the_same_cache(cache: CacheConfig) -> None:
    """Keep what counts (the newest result of each step), add nothing, and write the same bytes again."""
    assert plain(rewritten(cache)) == plain(cache)
    assert serialize_cache(rewritten(cache)) == serialize_cache(cache)
