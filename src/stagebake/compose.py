"""Several cache manifests joined into one, so that a build reads a single one. Pure: JSON in, JSON out.

A cache manifest is an OCI image manifest whose config lists layers and records (moby/buildkit,
cache/remotecache/v1/types/spec.go). A record is a step: its digest, links to the records of its inputs, and its
results, each a chain of layers. The file points by index; here both carry an identity made of what they are, so that
joining is the union of two dicts, and the same step saved by two stages is one record.

Numbers left out of the JSON are 0: a layer without `parent` has parent 0, and -1 stands for none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"

# moby/buildkit, cache/remotecache/import.go: BuildKit drops a larger manifest or config without a word
MAX_BYTES = 1 << 20


class InvalidCache(ValueError):
    """A manifest or config that is no cache as BuildKit writes it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob on the layers below it; `descriptor` as in the manifest, `notes` as in the config."""

    descriptor: Mapping[str, Any]
    parent: str | None
    notes: Mapping[str, Any] | None

    @property
    def blob(self) -> str:
        return str(self.descriptor["digest"])


class Link(NamedTuple):
    """An input of a step: another record, and which part of its result."""

    record: str
    selector: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a step made, as one layer chain (`chained` False) or as a list of layers, and when."""

    layers: tuple[str, ...]
    chained: bool
    created: str


@dataclass(frozen=True, slots=True)
class Record:
    """A step. Each input has alternatives; `result` is None where only the key is known."""

    digest: str
    inputs: tuple[tuple[Link, ...], ...]
    result: Result | None


@dataclass(frozen=True, slots=True)
class Cache:
    """The content of cache manifests, by identity instead of by index."""

    layers: Mapping[str, Layer] = field(default_factory=dict)
    records: Mapping[str, Record] = field(default_factory=dict)

    def blobs(self) -> dict[str, int]:
        """Digest and size in bytes of every blob."""
        return {layer.blob: int(layer.descriptor["size"]) for layer in self.layers.values()}


@dataclass(frozen=True, slots=True)
class Document:
    """A cache as it is pushed: the manifest and the config it names, each with its digest."""

    manifest: bytes
    config: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def too_large(self) -> bool:
        return max(len(self.manifest), len(self.config)) > MAX_BYTES


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config_digest(manifest: bytes) -> str:
    """The digest of the config that a cache manifest names. Raises InvalidCache for anything else."""
    config = _object(manifest).get("config")
    if not isinstance(config, dict) or config.get("mediaType") != CONFIG_TYPE:
        raise InvalidCache("not a cache manifest of BuildKit")
    return str(config.get("digest"))


def layers_of(manifest: bytes) -> dict[str, int]:
    """Digest and size in bytes of the layers that a manifest names."""
    return {layer["digest"]: layer["size"] for layer in _object(manifest).get("layers", [])}


def manifests_of(index: bytes) -> list[str]:
    """The digests of the images that an index names, without attestations (they have no platform)."""
    return [
        entry["digest"]
        for entry in _object(index).get("manifests", [])
        if entry.get("platform", {}).get("os") != "unknown"
    ]


def read(manifest: bytes, config: bytes) -> Cache:
    """One cache manifest and its config. Raises InvalidCache where BuildKit would refuse them."""
    try:
        descriptors = {layer["digest"]: layer for layer in _object(manifest).get("layers", [])}
        document = _object(config)
        layers, layer_ids = _read_layers(document.get("layers") or [], descriptors)
        return Cache(layers=layers, records=_read_records(document.get("records") or [], layer_ids))
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidCache(f"a cache config that does not hold together ({error!r})") from None


def join(caches: Iterable[Cache]) -> Cache:
    """All that the caches know. Of two results of the same step the newer one stays.

    A result that is older than what it was made from is left out: its input ran again since (a forced stage whose
    dependents could not be saved), and taking it would ship what the forced run replaced.
    """
    layers: dict[str, Layer] = {}
    records: dict[str, Record] = {}
    for cache in caches:
        layers.update(cache.layers)
        for identity, record in cache.records.items():
            records[identity] = _newer(records.get(identity), record)
    return _pruned(Cache(layers=layers, records=_without_outdated(records)))


def without_blobs(cache: Cache, blobs: frozenset[str]) -> Cache:
    """The cache without every result whose layer chain touches one of these blobs."""
    if not blobs & cache.blobs().keys():
        return cache
    touched = _memo(
        lambda identity, again: (
            cache.layers[identity].blob in blobs
            or ((parent := cache.layers[identity].parent) is not None and again(parent))
        )
    )
    records = {
        identity: replace(record, result=None)
        if record.result and any(touched(layer) for layer in record.result.layers)
        else record
        for identity, record in cache.records.items()
    }
    return _pruned(Cache(layers=cache.layers, records=records))


def write(cache: Cache) -> Document:
    """The cache as manifest and config. The same cache gives the same bytes."""
    layer_ids = {identity: index for index, identity in enumerate(sorted(cache.layers))}
    record_ids = {identity: index for index, identity in enumerate(sorted(cache.records))}
    config = _dump(
        {
            "layers": [_layer_out(cache.layers[identity], layer_ids) for identity in layer_ids],
            "records": [_record_out(cache.records[identity], record_ids, layer_ids) for identity in record_ids],
        }
    )
    blobs = {layer.blob: layer.descriptor for layer in cache.layers.values()}
    manifest = _dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [blobs[digest] for digest in sorted(blobs)],
        }
    )
    return Document(manifest=manifest, config=config)


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        raise InvalidCache("not JSON") from None
    if not isinstance(document, dict):
        raise InvalidCache("not a JSON object")
    return document


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _identity(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _memo(rule: Callable[[Any, Callable[[Any], Any]], Any]) -> Callable[[Any], Any]:
    """A recursive rule over a graph, each node worked out once; a circle is an InvalidCache."""
    known: dict[Any, Any] = {}
    under_way: set[Any] = set()

    def value(node: Any) -> Any:
        if node not in known:
            if node in under_way:
                raise InvalidCache("a cache config that points in a circle")
            under_way.add(node)
            known[node] = rule(node, value)
            under_way.discard(node)
        return known[node]

    return value


def _read_layers(
    raw: list[dict[str, Any]], descriptors: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Layer], list[str]]:
    def layer_identity(index: int, again: Callable[[int], str]) -> str:
        parent = raw[index].get("parent", 0)
        return _identity(raw[index]["blob"], again(_within(parent, raw)) if parent >= 0 else None)

    identity = _memo(layer_identity)
    ids = [identity(index) for index in range(len(raw))]
    layers = {}
    for own, entry in zip(ids, raw, strict=True):
        parent = entry.get("parent", 0)
        layers[own] = Layer(descriptors[entry["blob"]], ids[parent] if parent >= 0 else None, entry.get("annotations"))
    return layers, ids


def _read_records(raw: list[dict[str, Any]], layer_ids: list[str]) -> dict[str, Record]:
    def inputs(index: int, again: Callable[[int], str]) -> tuple[tuple[Link, ...], ...]:
        return tuple(
            tuple(
                sorted(
                    Link(again(_within(link.get("link", 0), raw)), link.get("selector", "")) for link in alternatives
                )
            )
            for alternatives in raw[index].get("inputs") or []
        )

    identity = _memo(lambda index, again: _identity(raw[index]["digest"], inputs(index, again)))
    records: dict[str, Record] = {}
    for index, entry in enumerate(raw):
        record = Record(entry["digest"], inputs(index, identity), _newest(_read_results(entry, layer_ids)))
        records[identity(index)] = _newer(records.get(identity(index)), record)
    return records


def _read_results(entry: Mapping[str, Any], layer_ids: list[str]) -> list[Result]:
    single = [
        Result((layer_ids[_within(r.get("layer", 0), layer_ids)],), chained=False, created=r.get("createdAt", ""))
        for r in entry.get("layers") or []
    ]
    chains = [
        Result(
            tuple(layer_ids[_within(i, layer_ids)] for i in r["layers"]),
            chained=True,
            created=r.get("createdAt", ""),
        )
        for r in entry.get("chains") or []
    ]
    return single + chains


def _within(index: int, items: list[Any]) -> int:
    if not 0 <= index < len(items):
        raise IndexError(f"index {index} of {len(items)}")
    return index


def _newest(results: Iterable[Result]) -> Result | None:
    return max(results, key=lambda result: (_time(result.created), result.layers), default=None)


def _time(created: str) -> tuple[str, str]:
    """RFC 3339 in UTC, as Go writes it: fractions of any length, so that strings alone do not compare."""
    seconds, _, fraction = created.rstrip("Z").partition(".")
    return seconds, fraction.ljust(9, "0")


def _newer(known: Record | None, record: Record) -> Record:
    if known is None:
        return record
    return replace(record, result=_newest(r for r in (known.result, record.result) if r is not None))


def _without_outdated(records: Mapping[str, Record]) -> dict[str, Record]:
    oldest = ("", "")

    def latest_below(identity: str, again: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
        links = [link.record for alternatives in records[identity].inputs for link in alternatives]
        return max((max(again(link), _step_time(records[link])) for link in links), default=oldest)

    below = _memo(latest_below)
    return {
        identity: replace(record, result=None)
        if record.result and _time(record.result.created) < below(identity)
        else record
        for identity, record in records.items()
    }


def _step_time(record: Record) -> tuple[str, str]:
    """When a step ran. A record without inputs is a source (an image, local files), which does not run."""
    return _time(record.result.created) if record.result and record.inputs else ("", "")


def _pruned(cache: Cache) -> Cache:
    """Only the records that lead to a result and the layers that a result stands on."""
    records: dict[str, Record] = {}
    queue = [identity for identity, record in cache.records.items() if record.result]
    while queue:
        identity = queue.pop()
        if identity not in records:
            records[identity] = cache.records[identity]
            queue += [link.record for alternatives in records[identity].inputs for link in alternatives]
    layers: dict[str, Layer] = {}
    stack = [layer for record in records.values() if record.result for layer in record.result.layers]
    while stack:
        identity = stack.pop()
        if identity not in layers:
            layers[identity] = cache.layers[identity]
            stack += [parent] if (parent := layers[identity].parent) is not None else []
    return Cache(layers=layers, records=records)


def _layer_out(layer: Layer, layer_ids: Mapping[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "blob": layer.blob,
        "parent": -1 if layer.parent is None else layer_ids[layer.parent],
    }
    return entry | ({"annotations": layer.notes} if layer.notes else {})


def _record_out(record: Record, record_ids: Mapping[str, int], layer_ids: Mapping[str, int]) -> dict[str, Any]:
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
