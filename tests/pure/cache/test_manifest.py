"""Cache manifests are read and written without changing what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, config_digest, image_manifests, layer_sizes
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


def test_numbers_that_are_left_out_are_zero() -> None:
    """No `parent` is parent 0, no `link` is record 0, no `layer` is layer 0; -1 alone is no parent."""
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
    first = next(entry for entry in cache.records.values() if entry.digest == digest("first"))
    assert [cache.records[link.record].digest for (link,) in first.inputs] == [digest("source")]


def test_a_written_cache_leaves_no_number_out() -> None:
    """Zeros are written, so that nobody has to know what a missing number means."""
    config = config_of(cache_of(layer("a"), records=[record("s"), record("r", [0], layer=0)]))
    assert all("parent" in entry for entry in config["layers"])
    assert all("layer" in result for entry in config["records"] for result in entry.get("layers", []))
    assert all("link" in x for entry in config["records"] for links in entry.get("inputs", []) for x in links)


@pytest.mark.parametrize("name", REAL)
def test_what_buildkit_wrote_is_read_and_written_again(name: str) -> None:
    """A cache of BuildKit is read whole and survives being written."""
    raw = json.loads((CACHES / f"{name}.config.json").read_bytes())
    cache = real(name)
    assert len(cache.layers) == len(raw["layers"])
    assert len(cache.records) == len(raw["records"])
    assert sum(entry.result is not None for entry in cache.records.values()) == sum(
        "layers" in r for r in raw["records"]
    )
    assert rewritten(cache) == cache


def test_the_same_blob_on_another_parent_is_another_layer() -> None:
    """A blob says nothing of what lies below it."""
    cache = cache_of(
        layer("x"), layer("y"), layer("top", 0), layer("top", 1),
        records=[record("s"), record("a", [0], layer=2), record("b", [0], layer=3)],
    )  # fmt: skip
    assert results_of(rewritten(cache)) == {
        digest("a"): [[digest("top"), digest("x")]],
        digest("b"): [[digest("top"), digest("y")]],
    }


def test_of_several_results_in_one_record_the_newest_is_read() -> None:
    """A record may list results; one is enough."""
    entry = record("r", [0])
    entry["layers"] = [{"layer": i, "createdAt": at} for i, at in enumerate((T2, T3, T1))]
    assert results_of(cache_of(*map(layer, "abc"), records=[record("s"), entry])) == {digest("r"): [[digest("b")]]}


@pytest.mark.parametrize("size", ["1e999", "-1e999", "NaN", '"x"', "null"])
def test_a_size_that_is_none_is_no_cache(size: str) -> None:
    """JSON holds numbers that no blob can have."""
    manifest, config = files_of({"layers": [layer("a")], "records": [record("s"), record("r", [0], layer=0)]})
    odd = manifest.replace(b'"size": 7', b'"size": ' + size.encode())
    for call in (lambda: parse_cache(odd, config), lambda: layer_sizes(odd)):
        with pytest.raises(InvalidCache):
            call()


def test_results_of_several_layers_survive() -> None:
    """`chains` are read and written in their own order."""
    cache = cache_of(layer("a"), layer("b"), layer("c"), records=[record("s"), record("r", [0], chain=[2, 0, 1])])
    assert results_of(rewritten(cache)) == {digest("r"): [[digest("c")], [digest("a")], [digest("b")]]}
    assert rewritten(cache) == cache


def test_selectors_annotations_and_descriptors_survive() -> None:
    """What the format carries besides numbers is kept."""
    notes = {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "size": 3}
    raw: Raw = {
        "layers": [layer("a", annotations=notes)],
        "records": [record("s"), {"digest": digest("r"), "inputs": [[{"selector": digest("path")}]], "layers": [{}]}],
    }
    cache = rewritten(parse_cache(*files_of(raw)))
    (only,) = cache.layers.values()
    assert only.notes == notes
    assert only.descriptor["size"] == 7
    assert [link.selector for entry in cache.records.values() for (link,) in entry.inputs] == [digest("path")]
    assert cache.blob_sizes() == {digest("a"): 7}


@pytest.mark.parametrize(
    ("manifest", "config", "large"),
    [(1, 1 << 20, False), (1 << 20, 1, False), (1, (1 << 20) + 1, True), ((1 << 20) + 1, 1, True)],
    ids=["config-at-limit", "manifest-at-limit", "config-above", "manifest-above"],
)
def test_too_large(manifest: int, config: int, large: bool) -> None:
    """BuildKit reads a manifest or config of 1 MiB and drops a larger one."""
    assert ManifestAndConfig(manifest=b" " * manifest, config=b" " * config).too_large is large


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
    ],
    ids=[
        "parent-too-large", "parent-far-too-large", "parent-minus-two", "parent-itself",
        "parent-left-out-of-only-layer", "parents-in-a-circle", "parent-a-string", "no-blob", "layer-too-large",
        "layer-negative", "chain-too-large", "chain-negative", "chain-without-layers", "no-layers-at-all",
        "link-too-large", "link-negative", "link-itself",
        "link-left-out-of-only-record", "links-in-a-circle", "no-digest", "record-a-string", "inputs-a-number",
        "records-an-object",
    ],
)  # fmt: skip
def test_what_does_not_hold_together_is_no_cache(raw: Any) -> None:
    """Where BuildKit would refuse the config, it is an InvalidCache."""
    manifest = json.dumps({"layers": [{"digest": digest(name), "size": 7} for name in "ab"]}).encode()
    with pytest.raises(InvalidCache):
        parse_cache(manifest, json.dumps(raw).encode())


def test_a_layer_that_the_manifest_does_not_name_is_no_cache() -> None:
    """A config may only speak of blobs that its manifest holds."""
    _, config = files_of({"layers": [layer("a")], "records": [record("r", layer=0)]})
    with pytest.raises(InvalidCache):
        parse_cache(b'{"layers": []}', config)


def test_a_blob_without_a_size_is_zero_bytes_or_no_cache() -> None:
    """A descriptor without `size` never surfaces as anything but an InvalidCache."""
    manifest, config = files_of({"layers": [layer("a")], "records": [record("s"), record("r", [0], layer=0)]})
    document = json.loads(manifest)
    del document["layers"][0]["size"]
    try:
        sizes = parse_cache(json.dumps(document).encode(), config).blob_sizes()
    except InvalidCache:
        return
    assert sizes == {digest("a"): 0}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"null", b'"x"', b"404 page not found"], ids=repr)
def test_what_is_no_json_object_is_no_cache(data: bytes) -> None:
    """Anything but a JSON object is an InvalidCache, as manifest and as config."""
    manifest, config = files_of({"layers": [], "records": []})
    for call in (
        lambda: parse_cache(data, config),
        lambda: parse_cache(manifest, data),
        lambda: config_digest(data),
        lambda: layer_sizes(data),
        lambda: image_manifests(data),
    ):
        with pytest.raises(InvalidCache):
            call()


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"config": None},
        {"config": []},
        {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:0"}},
        {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []},
    ],
    ids=["nothing", "null", "a-list", "an-image", "an-index"],
)
def test_another_media_type_is_no_cache(manifest: Any) -> None:
    """Only a manifest whose config is of BuildKit's type is a cache."""
    with pytest.raises(InvalidCache):
        config_digest(json.dumps(manifest).encode())


def test_attestations_of_an_index_are_no_images() -> None:
    """An index names images, and attestations under an unknown platform."""
    index = {
        "manifests": [
            {"digest": "sha256:1", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:2", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:3"},
        ]
    }
    assert image_manifests(json.dumps(index).encode()) == ["sha256:1", "sha256:3"]


@quick
@given(caches)
def test_write_then_read_is_the_identity(cache: CacheConfig) -> None:
    """Writing keeps what counts (the newest result of each step) and adds nothing; twice it gives the same bytes."""
    assert plain(rewritten(cache)) == plain(cache)
    assert serialize_cache(rewritten(cache)) == serialize_cache(cache)
