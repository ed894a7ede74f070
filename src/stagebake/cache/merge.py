"""Merge several cache configs into one, so that a build imports a single cache. Pure.

Evidence names what a saved cache holds, piece by piece: each link from a step to one of its inputs, with the results of
both. Merging may add links and results, so the pieces of the saved cache are looked up among those of the merged one. A
link that was cut there, or a result that a newer one has replaced, is missing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from stagebake.cache.manifest import DEFAULT_TIME, CacheConfig, CacheInput, CacheLayer, CacheRecord, topological_order


def merge_caches(caches: Iterable[CacheConfig]) -> CacheConfig:
    """All that the caches know. Of two results of the same step the newer one stays.

    A link from a step whose result changed after the result behind the link was last proven is cut: taking that would
    ship what a forced run has replaced (its own cache was saved, that of its dependents was not).
    """
    layers: dict[str, CacheLayer] = {}
    records: dict[str, CacheRecord] = {}
    for cache in caches:
        layers.update(cache.layers)
        for identity, record in cache.records.items():
            records[identity] = record.union(records.get(identity, record))
    return _renamed(_pruned(layers, _without_outdated(_merged(records))))


def drop_blobs(cache: CacheConfig, blobs: frozenset[str]) -> CacheConfig:
    """The cache without every result whose layer chain touches one of these blobs."""
    touched: set[str] = set()
    for identity in topological_order({i: [layer.parent] if layer.parent else [] for i, layer in cache.layers.items()}):
        layer = cache.layers[identity]
        if layer.blob in blobs or layer.parent in touched:
            touched.add(identity)
    if not touched:
        return cache
    records = {
        identity: replace(record, results=()) if record.result and touched & set(record.result.layers) else record
        for identity, record in cache.records.items()
    }
    return _pruned(cache.layers, records)


def _parents_first(records: Mapping[str, CacheRecord]) -> list[str]:
    return topological_order({identity: record.links for identity, record in records.items()})


def _merged(records: Mapping[str, CacheRecord]) -> dict[str, CacheRecord]:
    """Records that BuildKit takes for the same step as one.

    These are the ones of the same digest that share an alternative of every input (cache/remotecache/v1/chains.go,
    CacheChains.Add). BuildKit would choose between them at random, or refuse the cache.
    """
    merged = _merge_once(records)
    while len(merged) < len(records):
        records, merged = merged, _merge_once(merged)
    return merged


class _Slot(NamedTuple):
    """One alternative of one input of a step of this digest with this many inputs."""

    digest: str
    inputs: int
    position: int
    link: CacheInput


def _merge_once(records: Mapping[str, CacheRecord]) -> dict[str, CacheRecord]:
    merged: dict[str, CacheRecord] = {}
    home: dict[str, str] = {}
    holders: dict[_Slot, set[str]] = defaultdict(set)
    for identity in _parents_first(records):
        record = _relinked(records[identity], home)
        twins = _sharing_every_input(record, holders)
        home[identity] = target = min(twins, default=identity)
        one = _without_circle(record, target, merged) if twins else record
        merged[target] = merged.get(target, one).union(one)
        for slot in _slots(merged[target]):
            holders[slot].add(target)
    return merged


def _slots(record: CacheRecord) -> list[_Slot]:
    return [_Slot(record.digest, len(record.inputs), i, link) for i, a in enumerate(record.inputs) for link in a]


def _sharing_every_input(record: CacheRecord, holders: Mapping[_Slot, set[str]]) -> set[str]:
    sharing: list[set[str]] = [set() for _ in record.inputs]
    for slot in _slots(record):
        sharing[slot.position] |= holders.get(slot, set())
    return set.intersection(*sharing) if sharing else set()


def _relinked(record: CacheRecord, home: Mapping[str, str]) -> CacheRecord:
    inputs = tuple(tuple(sorted({CacheInput(home[link.record], link.selector) for link in a})) for a in record.inputs)
    return replace(record, inputs=inputs)


def _without_circle(record: CacheRecord, target: str, records: Mapping[str, CacheRecord]) -> CacheRecord:
    """The record without links that lead back to the one it is merged into."""
    inputs = tuple(tuple(link for link in a if not _leads_to(link.record, target, records)) for a in record.inputs)
    return replace(record, inputs=inputs)


def _leads_to(start: str, target: str, records: Mapping[str, CacheRecord]) -> bool:
    seen: set[str] = set()
    queue = [start]
    while queue:
        identity = queue.pop()
        if identity == target:
            return True
        if identity not in seen:
            seen.add(identity)
            queue += records[identity].links
    return False


def _without_outdated(records: Mapping[str, CacheRecord]) -> dict[str, CacheRecord]:
    kept: dict[str, CacheRecord] = {}
    changed: dict[str, datetime] = {}
    for identity in _parents_first(records):
        record = records[identity]
        proven = record.result.proven_at if record.result else None
        inputs = tuple(
            tuple(link for link in a if link.record in kept and (proven is None or changed[link.record] <= proven))
            for a in record.inputs
        )
        if all(inputs):
            changed[identity] = _changed(replace(record, inputs=inputs), changed)
            kept[identity] = replace(record, inputs=inputs, results=record.results[-1:])
    return kept


def _changed(record: CacheRecord, changed: Mapping[str, datetime]) -> datetime:
    """When a step first gave the result that it has; where that is not known, when the last of its inputs changed.

    A step that is forced, or that stands behind a forced one, may well come out the same: then nothing is replaced.
    A record without inputs is a source (an image, local files), which does not run.
    """
    if not record.inputs:
        return DEFAULT_TIME
    if not record.results:
        return max(changed[link] for link in record.links)
    same = takewhile(lambda result: result.layers == record.results[-1].layers, reversed(record.results))
    return min(result.created_at for result in same)


def _renamed(cache: CacheConfig) -> CacheConfig:
    """Records by an identity made of what they are now, so that joining in any order gives the same."""
    names: dict[str, str] = {}
    records: dict[str, CacheRecord] = {}
    for identity in _parents_first(cache.records):
        record = _relinked(cache.records[identity], names)
        names[identity] = record.identity
        records[names[identity]] = record
    return CacheConfig(layers=cache.layers, records=records)


def _pruned(layers: Mapping[str, CacheLayer], records: Mapping[str, CacheRecord]) -> CacheConfig:
    """Only the records that lead to a result and the layers that a result stands on."""
    kept: dict[str, CacheRecord] = {}
    queue = [identity for identity, record in records.items() if record.result]
    while queue:
        identity = queue.pop()
        if identity not in kept:
            kept[identity] = records[identity]
            queue += records[identity].links
    standing: dict[str, CacheLayer] = {}
    stack = [layer for record in kept.values() if record.result for layer in record.result.layers]
    while stack:
        identity = stack.pop()
        if identity not in standing:
            standing[identity] = layers[identity]
            stack += [parent] if (parent := layers[identity].parent) is not None else []
    return CacheConfig(layers=standing, records=kept)


Evidence = frozenset[str]


_DIGITS = 16


def collect_evidence(cache: CacheConfig) -> Evidence:
    """The pieces of a saved cache, each as exact as it is."""
    return frozenset(_name(*piece[0]) for piece in _pieces(merge_caches([cache])))


def available_evidence(caches: Iterable[CacheConfig]) -> Evidence:
    """The pieces that a build finds which reads these caches joined, also in the less exact forms."""
    return frozenset(_name(*form) for piece in _pieces(merge_caches(caches)) for form in piece)


def _pieces(cache: CacheConfig) -> Iterator[list[tuple[object, ...]]]:
    """Each link in up to four forms, the exact one first: with and without the result at either end."""
    for record in cache.records.values():
        if not record.inputs:
            yield [(record.digest, made) for made in _results(record)]
        for position, alternatives in enumerate(record.inputs):
            for link in alternatives:
                source = cache.records[link.record]
                yield [
                    (record.digest, made, position, source.digest, taken, link.selector)
                    for made in _results(record)
                    for taken in _results(source)
                ]


def _results(record: CacheRecord) -> list[tuple[str, ...] | None]:
    return [record.result.layers, None] if record.result else [None]


def _name(*piece: object) -> str:
    return hashlib.sha256(repr(piece).encode()).hexdigest()[:_DIGITS]
