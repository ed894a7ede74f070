"""What a cache manifest of BuildKit holds. Pure: JSON in, JSON out.

It is an OCI image manifest whose config lists layers and records (moby/buildkit, cache/remotecache/v1/types/spec.go). A
record is a step: its digest, links to the records of its inputs, and its results, each a chain of layers. The file
points by index; here both carry an identity made of what they are, so that two caches are joined as dicts are.

Numbers left out of the JSON are 0: a layer without `parent` has parent 0, and -1 stands for none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"

# moby/buildkit, cache/remotecache/import.go: BuildKit drops a larger manifest or config without a word
MAX_BYTES = 1 << 20

# The time of what has none: it came before all else
DEFAULT_TIME = datetime.min.replace(tzinfo=UTC)

# BuildKit reads a config leaf by leaf, and a link from one leaf's steps to another's is lost at random (seen in 0.25;
# cache/remotecache/v1/cachestorage.go, addItemToStorage). So what is written has one leaf, a step that never was.
_LEAF = "sha256:" + hashlib.sha256(b"stagebake: the one leaf of a composed cache").hexdigest()


class InvalidCache(ValueError):
    """A manifest or config that is no cache as BuildKit writes it."""


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """A blob on the layers below it; `descriptor` as in the manifest, `notes` as in the config."""

    descriptor: Mapping[str, Any]
    parent: str | None
    notes: Mapping[str, Any] | None

    @property
    def blob(self) -> str:
        return str(self.descriptor["digest"])


class CacheInput(NamedTuple):
    """An input of a step: another record, and which part of its result."""

    record: str
    selector: str


@dataclass(frozen=True, slots=True)
class CacheResult:
    """What a step made, as one layer chain (`chained` False) or as a list of layers, and when.

    `proven` is when a cache that holds it was saved: then it still was what its inputs lead to.
    """

    layers: tuple[str, ...]
    chained: bool
    created: str
    proven: str = ""

    @property
    def created_at(self) -> datetime:
        return _time(self.created)

    @property
    def proven_at(self) -> datetime:
        return _time(self.proven)


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A step. Each input has alternatives; `results` are of each time it ran, the newest last.

    There is none where only the key is known.
    """

    digest: str
    inputs: tuple[tuple[CacheInput, ...], ...]
    results: tuple[CacheResult, ...] = ()

    @property
    def result(self) -> CacheResult | None:
        """The newest, the only one that counts."""
        return self.results[-1] if self.results else None

    @property
    def identity(self) -> str:
        """What tells it from any other step."""
        return _identity(self.digest, self.inputs)

    @property
    def links(self) -> list[str]:
        """The records that it needs or may need."""
        return [link.record for alternatives in self.inputs for link in alternatives]

    def union(self, other: CacheRecord) -> CacheRecord:
        """This and another record of the same step as one: the alternatives and the results of both."""
        inputs = tuple(tuple(sorted({*a, *b})) for a, b in zip(self.inputs, other.inputs, strict=True))
        return replace(self, inputs=inputs, results=_by_age({*self.results, *other.results}))


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """The content of cache manifests, by identity instead of by index."""

    layers: Mapping[str, CacheLayer] = field(default_factory=dict)
    records: Mapping[str, CacheRecord] = field(default_factory=dict)

    def blob_sizes(self) -> dict[str, int]:
        """Digest and size in bytes of every blob."""
        return {layer.blob: int(layer.descriptor["size"]) for layer in self.layers.values()}


@dataclass(frozen=True, slots=True)
class ManifestAndConfig:
    """A cache or an artifact as it is pushed: the manifest and the config that it names."""

    manifest: bytes
    config: bytes

    @property
    def digest(self) -> str:
        return sha256_digest(self.manifest)

    @property
    def too_large(self) -> bool:
        return max(len(self.manifest), len(self.config)) > MAX_BYTES

    def with_other_config(self) -> ManifestAndConfig:
        """The same cache with another blob for its config: JSON may end in white space. An artifact stays as it is."""
        manifest, config = json.loads(self.manifest), self.config + b"\n"
        if manifest["config"]["mediaType"] != CONFIG_TYPE:
            return self
        descriptor = manifest["config"] | {"digest": sha256_digest(config), "size": len(config)}
        return ManifestAndConfig(manifest=_dump(manifest | {"config": descriptor}), config=config)


def sha256_digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config_digest(manifest: bytes) -> str:
    """The digest of the config that a cache manifest names. Raises InvalidCache for anything else."""
    config = _object(manifest).get("config")
    if not isinstance(config, dict) or config.get("mediaType") != CONFIG_TYPE:
        raise InvalidCache("not a cache manifest of BuildKit")
    return str(config.get("digest"))


def layer_sizes(manifest: bytes) -> dict[str, int]:
    """Digest and size in bytes of the layers that a manifest names. Raises InvalidCache."""
    layers = _object(manifest).get("layers", [])
    try:
        return {str(layer["digest"]): int(layer["size"]) for layer in layers}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidCache("its layers are none") from None


def read_annotation(manifest: bytes, name: str) -> str:
    """An annotation of a manifest, empty where it has none. Raises InvalidCache."""
    annotations = _object(manifest).get("annotations")
    return str(annotations.get(name, "")) if isinstance(annotations, dict) else ""


def image_manifests(index: bytes) -> list[str]:
    """The digests of the images that an index names, without attestations (they have no platform).

    Raises InvalidCache.
    """
    entries = _object(index).get("manifests", [])
    try:
        return [str(entry["digest"]) for entry in entries if entry.get("platform", {}).get("os") != "unknown"]
    except (KeyError, TypeError, AttributeError):
        raise InvalidCache("its manifests are none") from None


def parse_cache(manifest: bytes, config: bytes) -> CacheConfig:
    """One cache manifest and its config. Raises InvalidCache where BuildKit would refuse them."""
    try:
        descriptors = {layer["digest"]: {**layer, "size": int(layer["size"])} for layer in _object(manifest)["layers"]}
        document = _object(config)
        layers, layer_ids = _read_layers(document.get("layers") or [], descriptors)
        records = _read_records(document.get("records") or [], layer_ids)
    except InvalidCache:
        raise
    except CycleError:
        raise InvalidCache("a cache config that points in a circle") from None
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidCache(f"a cache config that does not hold together ({error!r})") from None
    return _proven(CacheConfig(layers=layers, records=records))


def serialize_cache(cache: CacheConfig) -> ManifestAndConfig:
    """The cache as manifest and config. The same cache gives the same bytes."""
    records = _with_one_leaf(cache.records)
    layer_ids = {identity: index for index, identity in enumerate(sorted(cache.layers))}
    record_ids = {identity: index for index, identity in enumerate(sorted(records))}
    config = _dump(
        {
            "layers": [_layer_out(cache.layers[identity], layer_ids) for identity in layer_ids],
            "records": [_record_out(records[identity], record_ids, layer_ids) for identity in record_ids],
        }
    )
    blobs = {layer.blob: layer.descriptor for layer in cache.layers.values()}
    manifest = _dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": sha256_digest(config), "size": len(config)},
            "layers": [blobs[digest] for digest in sorted(blobs)],
        }
    )
    return ManifestAndConfig(manifest=manifest, config=config)


def build_artifact(content: bytes, kind: str) -> ManifestAndConfig:
    """Bytes of a media type as an OCI artifact; they are its config and its one layer, for some registries want one."""
    blob = {"mediaType": kind, "digest": sha256_digest(content), "size": len(content)}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": kind, "config": blob, "layers": [blob]}
    return ManifestAndConfig(manifest=_dump(manifest), config=content)


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidCache("not JSON") from None
    if not isinstance(document, dict):
        raise InvalidCache("not a JSON object")
    return document


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _identity(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def topological_order(below: Mapping[Any, Iterable[Any]]) -> list[Any]:
    """The nodes, each after those below it. Raises CycleError."""
    return list(TopologicalSorter({node: sorted(set(below[node])) for node in sorted(below)}).static_order())


def _read_layers(
    raw: list[dict[str, Any]], descriptors: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, CacheLayer], list[str]]:
    parents = {index: _within(entry.get("parent", 0), raw, lowest=-1) for index, entry in enumerate(raw)}
    ids: dict[int, str] = {}
    layers = {}
    for index in topological_order({index: [parent] if parent >= 0 else [] for index, parent in parents.items()}):
        entry, parent = raw[index], ids.get(parents[index])
        ids[index] = _identity(entry["blob"], parent)
        layers[ids[index]] = CacheLayer(descriptors[entry["blob"]], parent, entry.get("annotations"))
    return layers, [ids[index] for index in range(len(raw))]


def _read_records(raw: list[dict[str, Any]], layer_ids: list[str]) -> dict[str, CacheRecord]:
    inputs = {index: [list(map(_link_in(raw), a)) for a in e.get("inputs") or []] for index, e in enumerate(raw)}
    ids: dict[int, str] = {}
    records: dict[str, CacheRecord] = {}
    for index in topological_order({index: [link for a in inputs[index] for link, _ in a] for index in inputs}):
        digest = str(raw[index]["digest"])
        links = tuple(tuple(sorted({CacheInput(ids[link], selector) for link, selector in a})) for a in inputs[index])
        record = CacheRecord(digest, links, _by_age(_read_results(raw[index], layer_ids)))
        ids[index] = record.identity
        if digest != _LEAF:
            records[ids[index]] = record.union(records.get(ids[index], record))
    return records


def _link_in(raw: list[dict[str, Any]]) -> Callable[[dict[str, Any]], tuple[int, str]]:
    return lambda entry: (_within(entry.get("link", 0), raw), str(entry.get("selector", "")))


def _read_results(entry: Mapping[str, Any], layer_ids: list[str]) -> list[CacheResult]:
    def chain(indexes: Iterable[int]) -> tuple[str, ...]:
        return tuple(layer_ids[_within(index, layer_ids)] for index in indexes)

    single = [CacheResult(chain([r.get("layer", 0)]), False, r.get("createdAt", "")) for r in entry.get("layers") or []]
    chains = [CacheResult(chain(r["layers"]), True, r.get("createdAt", "")) for r in entry.get("chains") or []]
    return single + chains


def _within(index: int, items: list[Any], lowest: int = 0) -> int:
    if not lowest <= index < len(items):
        raise IndexError(f"index {index} of {len(items)}")
    return index


def _proven(cache: CacheConfig) -> CacheConfig:
    """A cache was saved after the last of its steps ran; all that it holds was right then."""
    last = max((record.result.created for record in cache.records.values() if record.result), key=_age, default="")
    records = {
        identity: replace(record, results=tuple(replace(result, proven=last) for result in record.results))
        for identity, record in cache.records.items()
    }
    return CacheConfig(layers=cache.layers, records=records)


def _by_age(results: Iterable[CacheResult]) -> tuple[CacheResult, ...]:
    """The results, the newest last; of the same ones always the same is last."""

    def age(result: CacheResult) -> tuple[Any, ...]:
        return result.created_at, result.proven_at, result.layers, result.chained, result.created, result.proven

    return tuple(sorted(results, key=age))


def _age(created: str) -> tuple[datetime, str]:
    """What sorts times; of two ways to write one time always the same is the later."""
    return _time(created), created


def _time(created: str) -> datetime:
    """RFC 3339 as Go writes it, in any time zone; what is no time came first."""
    try:
        return datetime.fromisoformat(created).astimezone(UTC)
    except (ValueError, OverflowError):
        return DEFAULT_TIME


def _with_one_leaf(records: Mapping[str, CacheRecord]) -> dict[str, CacheRecord]:
    leaves = sorted(set(records) - {link for record in records.values() for link in record.links})
    if len(leaves) < 2:
        return dict(records)
    leaf = CacheRecord(_LEAF, (tuple(CacheInput(identity, "") for identity in leaves),))
    return {**records, leaf.identity: leaf}


def _layer_out(layer: CacheLayer, layer_ids: Mapping[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "blob": layer.blob,
        "parent": -1 if layer.parent is None else layer_ids[layer.parent],
    }
    return entry | ({"annotations": layer.notes} if layer.notes else {})


def _record_out(record: CacheRecord, record_ids: Mapping[str, int], layer_ids: Mapping[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {"digest": record.digest}
    if record.inputs:
        entry["inputs"] = [
            [{"link": record_ids[link.record]} | ({"selector": link.selector} if link.selector else {}) for link in a]
            for a in record.inputs
        ]
    if record.result and record.result.chained:
        entry["chains"] = [{"layers": [layer_ids[i] for i in record.result.layers], "createdAt": record.result.created}]
    elif record.result:
        entry["layers"] = [{"layer": layer_ids[record.result.layers[0]], "createdAt": record.result.created}]
    return entry
