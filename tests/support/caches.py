"""Make cache manifests for tests: by hand, as BuildKit wrote them, and at random."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import CONFIG_TYPE, MANIFEST_TYPE, sha256_digest

CACHES = Path(__file__).parents[1] / "pure/caches"
REAL = ("base", "python-deps", "node-deps", "builder", "runtime")
Raw = dict[str, list[dict[str, Any]]]
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
T1, T2, T3 = "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.5Z", "2026-01-01T10:00:01Z"


def digest(name: object) -> str:
    """Return a digest that stands for a name."""
    return sha256_digest(str(name).encode())


def layer(blob: str, parent: int = -1, **more: Any) -> dict[str, Any]:
    """Return an entry of `layers` as BuildKit writes it; `parent` is an index."""
    return {"blob": digest(blob), "parent": parent, **more}


def record(name: str, *inputs: list[int], at: str = T1, **results: Any) -> dict[str, Any]:
    """Return a step as BuildKit writes it: `layer` an index, `chain` a list of indexes; each input a list of links."""
    entry: dict[str, Any] = {"digest": digest(name)}
    if inputs:
        entry["inputs"] = [[{"link": link} for link in links] for links in inputs]
    if "layer" in results:
        entry["layers"] = [{"layer": results["layer"], "createdAt": at}]
    if "chain" in results:
        entry["chains"] = [{"layers": results["chain"], "createdAt": at}]
    return entry


def files_of(raw: Raw) -> tuple[bytes, bytes]:
    """Return manifest and config of a cache of these layers and records."""
    config = json.dumps(raw).encode()
    descriptors = {}
    for entry in raw.get("layers", []):
        blob = entry["blob"]
        descriptors[blob] = {"mediaType": LAYER_TYPE, "digest": blob, "size": 7}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": sha256_digest(config), "size": len(config)},
        "layers": list(descriptors.values()),
    }
    return json.dumps(manifest).encode(), config


def cache_of(*layers: dict[str, Any], records: list[dict[str, Any]]) -> CacheConfig:
    """Parse a cache with these layers and records."""
    return parse_cache(*files_of({"layers": list(layers), "records": records}))


def rewritten(cache: CacheConfig) -> CacheConfig:
    """Write a cache and parse it again."""
    document = serialize_cache(cache)
    return parse_cache(document.manifest, document.config)


def plain(cache: CacheConfig) -> CacheConfig:
    """Return the cache without `proven`, which is worked out on reading and not part of the format."""
    records = {}
    for identity, entry in cache.records.items():
        newest = [replace(result, proven="") for result in entry.results[-1:]]
        records[identity] = replace(entry, results=tuple(newest))
    return replace(cache, records=records)


def config_of(cache: CacheConfig) -> Any:
    """Return the JSON of a cache's config."""
    return json.loads(serialize_cache(cache).config)


def blobs_of(cache: CacheConfig, identity: str) -> list[str]:
    """Return the blobs of one layer's chain, its own first."""
    chain = []
    current: str | None = identity
    while current is not None:
        chain.append(cache.layers[current].blob)
        current = cache.layers[current].parent
    return chain


def results_of(cache: CacheConfig) -> dict[str, list[list[str]]]:
    """Return the digest of each step that has a result, and the blobs of that result."""
    results = {}
    for entry in cache.records.values():
        if entry.result:
            results[entry.digest] = [blobs_of(cache, identity) for identity in entry.result.layers]
    return results


def real(name: str) -> CacheConfig:
    """Return a cache that BuildKit 0.25 wrote for a stage."""
    manifest = CACHES / f"{name}.manifest.json"
    config = CACHES / f"{name}.config.json"
    return parse_cache(manifest.read_bytes(), config.read_bytes())


NAMES = [f"step {number}" for number in range(6)]
BLOBS = [f"blob {number}" for number in range(4)]
TIMES = ["", "0001-01-01T00:00:00Z", T1, T2, T3]


@st.composite
def raw_caches(draw: st.DrawFn) -> Raw:
    """Draw any consistent cache: a graph of layers and one of records, in any order, zeros left out at random."""
    layers = []
    for number in range(draw(st.integers(min_value=1, max_value=6))):
        blob = draw(st.sampled_from(BLOBS))
        layers.append(layer(blob, draw(st.integers(-1, number - 1))))
    records = []
    for number in range(draw(st.integers(min_value=1, max_value=7))):
        records.append(draw_record(draw, number, len(layers)))
    return shuffle_entries(draw, {"layers": layers, "records": records})


def draw_record(draw: st.DrawFn, number: int, layer_count: int) -> dict[str, Any]:
    """Draw a record whose inputs are among the `number` records before it."""
    # The digest of a step determines how many inputs it has
    name = draw(st.integers(0, len(NAMES) - 1)) if number else 0
    links = st.lists(st.integers(0, max(number - 1, 0)), min_size=1, max_size=2)
    inputs = [draw(links) for _ in range(name % 3)]
    layer_indexes = st.integers(0, layer_count - 1)
    results: dict[str, Any] = {}
    if draw(st.booleans()):
        results["layer"] = draw(layer_indexes)
    if draw(st.integers(0, 4)) == 0:
        results["chain"] = draw(st.lists(layer_indexes, min_size=1, max_size=3))
    return record(NAMES[name], *inputs, at=draw(st.sampled_from(TIMES)), **results)


def shuffle_entries(draw: st.DrawFn, raw: Raw) -> Raw:
    """Write the same cache with its entries at other indexes, and leave out zeros or not."""
    layer_at = draw(st.permutations(range(len(raw["layers"]))))
    record_at = draw(st.permutations(range(len(raw["records"]))))
    omits_zeros = draw(st.booleans())

    def write_number(key: str, value: int) -> dict[str, int]:
        return {} if omits_zeros and value == 0 else {key: value}

    def move_layer(entry: dict[str, Any]) -> dict[str, Any]:
        parent = entry["parent"]
        moved = layer_at[parent] if parent >= 0 else -1
        return {"blob": entry["blob"], **write_number("parent", moved)}

    def move_record(entry: dict[str, Any]) -> dict[str, Any]:
        moved = dict(entry)
        if "inputs" in entry:
            moved["inputs"] = []
            for links in entry["inputs"]:
                moved["inputs"].append([write_number("link", record_at[link["link"]]) for link in links])
        if "layers" in entry:
            (result,) = entry["layers"]
            moved["layers"] = [{"createdAt": result["createdAt"], **write_number("layer", layer_at[result["layer"]])}]
        if "chains" in entry:
            (result,) = entry["chains"]
            moved["chains"] = [{**result, "layers": [layer_at[index] for index in result["layers"]]}]
        return moved

    layers: list[Any] = [None] * len(layer_at)
    for entry, index in zip(raw["layers"], layer_at, strict=True):
        layers[index] = move_layer(entry)
    records: list[Any] = [None] * len(record_at)
    for entry, index in zip(raw["records"], record_at, strict=True):
        records[index] = move_record(entry)
    return {"layers": layers, "records": records}


caches = raw_caches().map(lambda raw: parse_cache(*files_of(raw)))
quick = settings(max_examples=30, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
