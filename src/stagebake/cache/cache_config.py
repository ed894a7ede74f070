"""Read and write the config of a BuildKit cache. Pure: JSON in, JSON out.

The config lists layers and records (moby/buildkit, cache/remotecache/v1/types/spec.go). A record is a step: its digest,
links to the records of its inputs, and its results, each of which is a chain of layers. In the file, links are indexes.
Here each layer and record has an identity instead, a hash of its content, so that two caches merge like two dicts.

Numbers that are missing from the JSON are 0: a layer without `parent` has parent 0, and -1 means "no parent".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from stagebake.cache.manifest import (
    InvalidCache,
    ManifestAndConfig,
    build_manifest,
    encode_json,
    parse_json_object,
)

# Time of a result whose time is missing: earlier than all others
DEFAULT_TIME = datetime.min.replace(tzinfo=UTC)

# BuildKit reads a config leaf by leaf and loses links between the steps of two leaves at random (seen in 0.25;
# cache/remotecache/v1/cachestorage.go, addItemToStorage). A written config therefore has one leaf: an artificial step.
_LEAF_DIGEST = "sha256:" + hashlib.sha256(b"stagebake: the one leaf of a composed cache").hexdigest()

# Value of `parent` for a layer without parent
_NO_PARENT = -1

# OCI descriptor of a blob (image-spec, descriptor.md)
_Descriptor = Mapping[str, Any]

# Indexes of layers or records by identity
_Indexes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """Blob on top of its parent layers. `descriptor` is from the manifest, `notes` are annotations of the config."""

    descriptor: _Descriptor
    parent: str | None
    notes: Mapping[str, Any] | None

    @property
    def blob(self) -> str:
        return str(self.descriptor["digest"])


class CacheInput(NamedTuple):
    """Link to an input of a step: another record, and the part of its result that the step uses."""

    record: str
    selector: str


@dataclass(frozen=True, slots=True)
class CacheResult:
    """Result of a step: one layer chain (`chained` False) or a list of layers, and its time.

    `created` is when the step ran, `proven` when a cache with the result was saved: its inputs still led to it then.
    """

    layers: tuple[str, ...]
    chained: bool
    created: str
    proven: str = ""

    @property
    def created_at(self) -> datetime:
        return _parse_time(self.created)

    @property
    def proven_at(self) -> datetime:
        return _parse_time(self.proven)


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """Step of a build. Each input has alternative links; `results` are sorted by time, newest last.

    A record without results is known by its key alone.
    """

    digest: str
    inputs: tuple[tuple[CacheInput, ...], ...]
    results: tuple[CacheResult, ...] = ()

    @property
    def result(self) -> CacheResult | None:
        """Return the newest result, which is the one that BuildKit uses."""
        return self.results[-1] if self.results else None

    @property
    def identity(self) -> str:
        """Return a hash that distinguishes the step from every other one."""
        return _hash_identity(self.digest, self.inputs)

    @property
    def links(self) -> list[str]:
        """Return the records of all inputs."""
        targets: list[str] = []
        for alternatives in self.inputs:
            targets += [link.record for link in alternatives]
        return targets

    def merge_with(self, other: CacheRecord) -> CacheRecord:
        """Merge two records of the same step: combine their alternatives and their results."""
        inputs = []
        for own_links, other_links in zip(self.inputs, other.inputs, strict=True):
            links = {*own_links, *other_links}
            inputs.append(tuple(sorted(links)))
        results = {*self.results, *other.results}
        return replace(self, inputs=tuple(inputs), results=_sort_by_age(results))

    def relink(self, identities: Mapping[str, str]) -> CacheRecord:
        """Return the record with each link replaced by the identity that its target has now."""
        inputs = []
        for alternatives in self.inputs:
            links = {CacheInput(identities[link.record], link.selector) for link in alternatives}
            inputs.append(tuple(sorted(links)))
        return replace(self, inputs=tuple(inputs))


# Records by identity
Records = Mapping[str, CacheRecord]


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Layers and records of one or several caches, by identity."""

    layers: Mapping[str, CacheLayer] = field(default_factory=dict)
    records: Records = field(default_factory=dict)

    def blob_sizes(self) -> dict[str, int]:
        """Return digest and size in bytes of every blob."""
        sizes: dict[str, int] = {}
        for layer in self.layers.values():
            sizes[layer.blob] = int(layer.descriptor["size"])
        return sizes


def parse_cache(manifest: bytes, config: bytes) -> CacheConfig:
    """Parse a cache manifest and its config. Raises InvalidCache where BuildKit would reject them."""
    try:
        descriptors = _read_descriptors(manifest)
        document = parse_json_object(config)
        raw_layers = [_RawLayer.parse(entry) for entry in _get_list(document, "layers")]
        raw_records = [_RawRecord.parse(entry) for entry in _get_list(document, "records")]
        layers, layer_ids = _resolve_layers(raw_layers, descriptors)
        records = _resolve_records(raw_records, layer_ids)
    except InvalidCache:
        raise
    except CycleError:
        raise InvalidCache("the cache config contains a cycle") from None
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidCache(f"the cache config is inconsistent ({error!r})") from None
    return CacheConfig(layers=layers, records=_set_proven(records))


def serialize_cache(cache: CacheConfig) -> ManifestAndConfig:
    """Return the cache as manifest and config. Equal caches have equal bytes."""
    records = _add_single_leaf(cache.records)
    layer_indexes = _number_sorted(cache.layers)
    record_indexes = _number_sorted(records)
    sorted_layers = [cache.layers[identity] for identity in layer_indexes]
    sorted_records = [records[identity] for identity in record_indexes]
    document = {
        "layers": [_serialize_layer(layer, layer_indexes) for layer in sorted_layers],
        "records": [_serialize_record(record, record_indexes, layer_indexes) for record in sorted_records],
    }
    config = encode_json(document)
    # In sorted order: runners write different annotations for one blob, and always the same ones must be chosen
    descriptors = {layer.blob: layer.descriptor for layer in sorted_layers}
    sorted_descriptors = [descriptors[blob] for blob in sorted(descriptors)]
    manifest = build_manifest(config, sorted_descriptors)
    return ManifestAndConfig(manifest=manifest, config=config)


def topological_order(below: Mapping[Any, Iterable[Any]]) -> list[Any]:
    """Sort nodes so that each comes after the nodes below it. Raises CycleError."""
    # Sorted, so that the order depends on the content alone
    sorter: TopologicalSorter[Any] = TopologicalSorter()
    for node in sorted(below):
        sorter.add(node, *sorted(set(below[node])))
    return list(sorter.static_order())


@dataclass(frozen=True, slots=True)
class _RawLayer:
    """Entry of `layers` in the JSON: `parent` is an index."""

    blob: str
    parent: int
    notes: Mapping[str, Any] | None

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> _RawLayer:
        return cls(
            blob=entry["blob"],
            parent=entry.get("parent", 0),
            notes=entry.get("annotations"),
        )


@dataclass(frozen=True, slots=True)
class _RawLink:
    """Link in `inputs` of a record in the JSON: `record` is an index."""

    record: int
    selector: str

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> _RawLink:
        return cls(
            record=entry.get("link", 0),
            selector=str(entry.get("selector", "")),
        )


@dataclass(frozen=True, slots=True)
class _RawResult:
    """Entry of `layers` or `chains` of a record in the JSON: `layers` are indexes."""

    layers: tuple[int, ...]
    chained: bool
    created: str

    @classmethod
    def parse_layer(cls, entry: Mapping[str, Any]) -> _RawResult:
        return cls(
            layers=(entry.get("layer", 0),),
            chained=False,
            created=entry.get("createdAt", ""),
        )

    @classmethod
    def parse_chain(cls, entry: Mapping[str, Any]) -> _RawResult:
        return cls(
            layers=tuple(entry["layers"]),
            chained=True,
            created=entry.get("createdAt", ""),
        )


@dataclass(frozen=True, slots=True)
class _RawRecord:
    """Entry of `records` in the JSON."""

    digest: str
    inputs: tuple[tuple[_RawLink, ...], ...]
    results: tuple[_RawResult, ...]

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> _RawRecord:
        inputs = []
        for alternatives in _get_list(entry, "inputs"):
            links = [_RawLink.parse(link) for link in alternatives]
            inputs.append(tuple(links))
        results = [_RawResult.parse_layer(result) for result in _get_list(entry, "layers")]
        results += [_RawResult.parse_chain(result) for result in _get_list(entry, "chains")]
        return cls(
            digest=str(entry["digest"]),
            inputs=tuple(inputs),
            results=tuple(results),
        )

    @property
    def links(self) -> list[int]:
        """Return the indexes of the records of all inputs."""
        targets: list[int] = []
        for alternatives in self.inputs:
            targets += [link.record for link in alternatives]
        return targets


def _get_list(entry: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of the JSON, which Go may write as null where it is empty."""
    return entry.get(key) or []


def _read_descriptors(manifest: bytes) -> dict[str, _Descriptor]:
    """Return the layer descriptors of a manifest by digest, with the size as a number."""
    descriptors: dict[str, _Descriptor] = {}
    for layer in parse_json_object(manifest)["layers"]:
        size = int(layer["size"])
        descriptors[layer["digest"]] = {**layer, "size": size}
    return descriptors


def _resolve_layers(
    raw_layers: Sequence[_RawLayer],
    descriptors: Mapping[str, _Descriptor],
) -> tuple[dict[str, CacheLayer], list[str]]:
    """Return the layers by identity, and the identity of each index."""
    parents: dict[int, list[int]] = {}
    for index, raw in enumerate(raw_layers):
        _check_index(raw.parent, raw_layers, lowest=_NO_PARENT)
        if raw.parent == _NO_PARENT:
            parents[index] = []
        else:
            parents[index] = [raw.parent]
    identities: dict[int, str] = {}
    layers: dict[str, CacheLayer] = {}
    for index in topological_order(parents):
        raw = raw_layers[index]
        parent = identities.get(raw.parent)
        identity = _hash_identity(raw.blob, parent)
        identities[index] = identity
        layers[identity] = CacheLayer(
            descriptor=descriptors[raw.blob],
            parent=parent,
            notes=raw.notes,
        )
    return layers, [identities[index] for index in sorted(identities)]


def _resolve_records(
    raw_records: Sequence[_RawRecord],
    layer_ids: Sequence[str],
) -> dict[str, CacheRecord]:
    """Return the records by identity, without the artificial leaf."""
    linked: dict[int, list[int]] = {}
    for index, raw in enumerate(raw_records):
        for target in raw.links:
            _check_index(target, raw_records)
        linked[index] = raw.links
    identities: dict[int, str] = {}
    records: dict[str, CacheRecord] = {}
    for index in topological_order(linked):
        record = _resolve_record(raw_records[index], identities, layer_ids)
        identity = record.identity
        identities[index] = identity
        if record.digest != _LEAF_DIGEST:
            known = records.get(identity)
            records[identity] = record.merge_with(known) if known else record
    return records


def _resolve_record(
    raw: _RawRecord,
    identities: Mapping[int, str],
    layer_ids: Sequence[str],
) -> CacheRecord:
    """Replace the indexes of a record by identities; `identities` has those of its inputs."""
    inputs = []
    for alternatives in raw.inputs:
        links = {CacheInput(identities[link.record], link.selector) for link in alternatives}
        inputs.append(tuple(sorted(links)))
    results = set()
    for raw_result in raw.results:
        for index in raw_result.layers:
            _check_index(index, layer_ids)
        layers = tuple(layer_ids[index] for index in raw_result.layers)
        results.add(
            CacheResult(
                layers=layers,
                chained=raw_result.chained,
                created=raw_result.created,
            )
        )
    return CacheRecord(
        digest=raw.digest,
        inputs=tuple(inputs),
        results=_sort_by_age(results),
    )


def _check_index(index: Any, items: Sequence[Any], lowest: int = 0) -> None:
    if not isinstance(index, int):
        raise TypeError(f"index {index!r}")
    if not lowest <= index < len(items):
        raise IndexError(f"index {index} of {len(items)}")


def _set_proven(records: Records) -> dict[str, CacheRecord]:
    """Set the time at which the results were proven: that of the newest one, since a cache is saved after it."""
    newest = ""
    for record in records.values():
        if record.result:
            newest = max(newest, record.result.created, key=_time_key)
    proven_records = {}
    for identity, record in records.items():
        results = [replace(result, proven=newest) for result in record.results]
        proven_records[identity] = replace(record, results=tuple(results))
    return proven_records


def _sort_by_age(results: Iterable[CacheResult]) -> tuple[CacheResult, ...]:
    """Sort results, newest last. Results of one time have a fixed order too."""
    return tuple(sorted(results, key=_age_key))


def _age_key(result: CacheResult) -> tuple[Any, ...]:
    return (
        result.created_at,
        result.proven_at,
        result.layers,
        result.chained,
        result.created,
        result.proven,
    )


def _time_key(created: str) -> tuple[datetime, str]:
    """Return the sort key of a time; two spellings of one time have a fixed order."""
    return _parse_time(created), created


def _parse_time(created: str) -> datetime:
    """Parse RFC 3339 as Go writes it, in any time zone. A value that is not a time is the earliest one."""
    try:
        return datetime.fromisoformat(created).astimezone(UTC)
    except (ValueError, OverflowError):
        return DEFAULT_TIME


def _hash_identity(*parts: object) -> str:
    text = json.dumps(parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _add_single_leaf(records: Records) -> dict[str, CacheRecord]:
    """Add the artificial step that depends on every leaf, where there are several."""
    linked: set[str] = set()
    for record in records.values():
        linked.update(record.links)
    leaves = sorted(set(records) - linked)
    if len(leaves) < 2:
        return dict(records)
    links = tuple(CacheInput(identity, "") for identity in leaves)
    single_leaf = CacheRecord(_LEAF_DIGEST, (links,))
    return {**records, single_leaf.identity: single_leaf}


def _number_sorted(identities: Iterable[str]) -> dict[str, int]:
    """Return the index of each identity in sorted order."""
    return {identity: index for index, identity in enumerate(sorted(identities))}


def _serialize_layer(layer: CacheLayer, layer_indexes: _Indexes) -> dict[str, Any]:
    entry: dict[str, Any] = {"blob": layer.blob, "parent": _NO_PARENT}
    if layer.parent is not None:
        entry["parent"] = layer_indexes[layer.parent]
    if layer.notes:
        entry["annotations"] = layer.notes
    return entry


def _serialize_record(
    record: CacheRecord,
    record_indexes: _Indexes,
    layer_indexes: _Indexes,
) -> dict[str, Any]:
    entry: dict[str, Any] = {"digest": record.digest}
    inputs = []
    for alternatives in record.inputs:
        inputs.append([_serialize_link(link, record_indexes) for link in alternatives])
    if inputs:
        entry["inputs"] = inputs
    result = record.result
    if result:
        indexes = [layer_indexes[layer] for layer in result.layers]
        if result.chained:
            entry["chains"] = [{"layers": indexes, "createdAt": result.created}]
        else:
            entry["layers"] = [{"layer": indexes[0], "createdAt": result.created}]
    return entry


def _serialize_link(link: CacheInput, record_indexes: _Indexes) -> dict[str, Any]:
    entry: dict[str, Any] = {"link": record_indexes[link.record]}
    if link.selector:
        entry["selector"] = link.selector
    return entry
