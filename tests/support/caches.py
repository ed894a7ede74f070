"""Cache manifests for tests: written by hand, as BuildKit wrote them, and drawn at random."""

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
T1, T2, T3 = "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.5Z", "2026-01-01T10:00:01Z"


def digest(name: object) -> str:
    return sha256_digest(str(name).encode())


def layer(blob: str, parent: int = -1, **more: Any) -> dict[str, Any]:
    return {"blob": digest(blob), "parent": parent, **more}


def record(name: str, *inputs: list[int], at: str = T1, **results: Any) -> dict[str, Any]:
    """A step as BuildKit writes it: `layer` an index, `chain` a list of indexes; each input a list of links."""
    entry: dict[str, Any] = {"digest": digest(name)}
    if inputs:
        entry["inputs"] = [[{"link": link} for link in links] for links in inputs]
    if "layer" in results:
        entry["layers"] = [{"layer": results["layer"], "createdAt": at}]
    if "chain" in results:
        entry["chains"] = [{"layers": results["chain"], "createdAt": at}]
    return entry


def files_of(raw: Raw) -> tuple[bytes, bytes]:
    """Manifest and config of a cache of these layers and records."""
    config = json.dumps(raw).encode()
    blobs = dict.fromkeys(entry["blob"] for entry in raw.get("layers", []))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": sha256_digest(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": b, "size": 7} for b in blobs],
    }
    return json.dumps(manifest).encode(), config


def cache_of(*layers: dict[str, Any], records: list[dict[str, Any]]) -> CacheConfig:
    return parse_cache(*files_of({"layers": list(layers), "records": records}))


def rewritten(cache: CacheConfig) -> CacheConfig:
    document = serialize_cache(cache)
    return parse_cache(document.manifest, document.config)


def plain(cache: CacheConfig) -> CacheConfig:
    """The cache without `proven`, which is worked out on reading and is not part of the format."""
    records = {
        identity: replace(entry, results=tuple(replace(result, proven="") for result in entry.results[-1:]))
        for identity, entry in cache.records.items()
    }
    return replace(cache, records=records)


def config_of(cache: CacheConfig) -> Any:
    return json.loads(serialize_cache(cache).config)


def blobs_of(cache: CacheConfig, identity: str) -> list[str]:
    """The blobs of one layer's chain, its own first."""
    chain = []
    step: str | None = identity
    while step is not None:
        chain.append(cache.layers[step].blob)
        step = cache.layers[step].parent
    return chain


def results_of(cache: CacheConfig) -> dict[str, list[list[str]]]:
    """Digest of each step that has a result, and the blobs of that result."""
    return {
        entry.digest: [blobs_of(cache, identity) for identity in entry.result.layers]
        for entry in cache.records.values()
        if entry.result
    }


def real(name: str) -> CacheConfig:
    """A cache that BuildKit 0.25 wrote for a stage."""
    return parse_cache((CACHES / f"{name}.manifest.json").read_bytes(), (CACHES / f"{name}.config.json").read_bytes())


NAMES = [f"step {i}" for i in range(6)]
BLOBS = [f"blob {i}" for i in range(4)]
TIMES = ["", "0001-01-01T00:00:00Z", T1, T2, T3]


@st.composite
def raw_caches(draw: st.DrawFn) -> Raw:
    """Any cache that holds together: a graph of layers and one of records, in any order, zeros left out at will."""
    layers = [
        layer(draw(st.sampled_from(BLOBS)), draw(st.integers(-1, i - 1)))
        for i in range(draw(st.integers(min_value=1, max_value=6)))
    ]
    records = []
    for i in range(draw(st.integers(min_value=1, max_value=7))):
        # a step's digest fixes how many inputs it has
        name = draw(st.integers(0, len(NAMES) - 1)) if i else 0
        links = st.lists(st.integers(0, max(i - 1, 0)), min_size=1, max_size=2)
        inputs = [draw(links) for _ in range(name % 3)]
        results: dict[str, Any] = {}
        if draw(st.booleans()):
            results["layer"] = draw(st.integers(0, len(layers) - 1))
        if draw(st.integers(0, 4)) == 0:
            results["chain"] = draw(st.lists(st.integers(0, len(layers) - 1), min_size=1, max_size=3))
        records.append(record(NAMES[name], *inputs, at=draw(st.sampled_from(TIMES)), **results))
    return shuffled({"layers": layers, "records": records}, draw)


def shuffled(raw: Raw, draw: st.DrawFn) -> Raw:
    layer_at = draw(st.permutations(range(len(raw["layers"]))))
    record_at = draw(st.permutations(range(len(raw["records"]))))
    bare = draw(st.booleans())

    def number(key: str, value: int) -> dict[str, int]:
        return {} if bare and value == 0 else {key: value}

    layers: list[Any] = [None] * len(layer_at)
    for old, new in enumerate(layer_at):
        entry = raw["layers"][old]
        layers[new] = {"blob": entry["blob"]} | number(
            "parent", layer_at[entry["parent"]] if entry["parent"] >= 0 else -1
        )
    records: list[Any] = [None] * len(record_at)
    for old, new in enumerate(record_at):
        entry = dict(raw["records"][old])
        for key, value in list(entry.items()):
            if key == "inputs":
                entry[key] = [[number("link", record_at[x["link"]]) for x in links] for links in value]
            elif key == "layers":
                entry[key] = [number("layer", layer_at[x["layer"]]) | {"createdAt": x["createdAt"]} for x in value]
            elif key == "chains":
                entry[key] = [x | {"layers": [layer_at[i] for i in x["layers"]]} for x in value]
        records[new] = entry
    return {"layers": layers, "records": records}


caches = raw_caches().map(lambda raw: parse_cache(*files_of(raw)))
quick = settings(max_examples=30, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
