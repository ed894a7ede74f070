"""Merge several cache configs into one, so that a build imports a single cache. Pure.

Merging takes three steps: combine the records of the same step, cut the links that a newer result has outdated, drop
what no result needs. The order of the caches does not change the outcome.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from stagebake.cache.cache_config import (
    DEFAULT_TIME,
    CacheConfig,
    CacheInput,
    CacheLayer,
    CacheRecord,
    Records,
    topological_order,
)


def merge_caches(caches: Iterable[CacheConfig]) -> CacheConfig:
    """Merge caches. Of two results of one step the newer one stays, and results made from the older one are dropped."""
    layers: dict[str, CacheLayer] = {}
    records: dict[str, CacheRecord] = {}
    for cache in caches:
        layers.update(cache.layers)
        for identity, record in cache.records.items():
            known = records.get(identity, record)
            records[identity] = record.merge_with(known)
    merged = _merge_same_steps(records)
    current = _cut_outdated_links(merged)
    return _update_identities(_drop_unused(layers, current))


def drop_blobs(cache: CacheConfig, blobs: frozenset[str]) -> CacheConfig:
    """Drop every result whose layer chain contains one of these blobs."""
    parents = {identity: _list_parent(layer) for identity, layer in cache.layers.items()}
    touched_layers: set[str] = set()
    for identity in topological_order(parents):
        layer = cache.layers[identity]
        if layer.blob in blobs or layer.parent in touched_layers:
            touched_layers.add(identity)
    if not touched_layers:
        return cache
    records: dict[str, CacheRecord] = {}
    for identity, record in cache.records.items():
        is_touched = record.result and not touched_layers.isdisjoint(record.result.layers)
        records[identity] = replace(record, results=()) if is_touched else record
    return _drop_unused(cache.layers, records)


def _inputs_first(records: Records) -> list[str]:
    """Return the identities of the records, each after those of its inputs."""
    links = {identity: record.links for identity, record in records.items()}
    return topological_order(links)


class _Slot(NamedTuple):
    """Link that steps with this digest and number of inputs have as alternative of the input at `position`."""

    digest: str
    inputs: int
    position: int
    link: CacheInput


def _merge_same_steps(records: Records) -> dict[str, CacheRecord]:
    """Merge the records that BuildKit treats as one step.

    These have the same digest and, for every input, share an alternative (cache/remotecache/v1/chains.go,
    CacheChains.Add). BuildKit would choose between them at random or reject the cache. A merged record has more
    alternatives than its parts and so may match further records: repeat until nothing changes.
    """
    merged = _merge_once(records)
    while len(merged) < len(records):
        records = merged
        merged = _merge_once(records)
    return merged


def _merge_once(records: Records) -> dict[str, CacheRecord]:
    merged: dict[str, CacheRecord] = {}
    merged_into: dict[str, str] = {}
    holders: dict[_Slot, set[str]] = defaultdict(set)
    for identity in _inputs_first(records):
        record = records[identity].relink(merged_into)
        twins = _find_twins(record, holders)
        target = min(twins, default=identity)
        merged_into[identity] = target
        if twins:
            record = _cut_links_to(target, record, merged)
        known = merged.get(target, record)
        merged[target] = known.merge_with(record)
        for slot in _list_slots(merged[target]):
            holders[slot].add(target)
    return merged


def _list_slots(record: CacheRecord) -> list[_Slot]:
    slots = []
    input_count = len(record.inputs)
    for position, alternatives in enumerate(record.inputs):
        for link in alternatives:
            slot = _Slot(
                digest=record.digest,
                inputs=input_count,
                position=position,
                link=link,
            )
            slots.append(slot)
    return slots


def _find_twins(record: CacheRecord, holders: Mapping[_Slot, set[str]]) -> set[str]:
    """Return the merged records that share an alternative of every input with this one."""
    if not record.inputs:
        return set()
    sharing_input: list[set[str]] = [set() for _ in record.inputs]
    for slot in _list_slots(record):
        sharing_input[slot.position] |= holders.get(slot, set())
    return set.intersection(*sharing_input)


def _cut_links_to(target: str, record: CacheRecord, records: Records) -> CacheRecord:
    """Cut the links that lead to `target`: merged into it, the record would otherwise depend on itself."""
    inputs = []
    for alternatives in record.inputs:
        kept = []
        for link in alternatives:
            if not _depends_on(target, link.record, records):
                kept.append(link)
        inputs.append(tuple(kept))
    return replace(record, inputs=tuple(inputs))


def _depends_on(target: str, start: str, records: Records) -> bool:
    """Tell whether a record is `target` or depends on it."""
    needed = _reach_all([start], lambda identity: records[identity].links)
    return target in needed


def _cut_outdated_links(records: Records) -> dict[str, CacheRecord]:
    """Cut links to inputs that have changed since, and keep only the newest result of each record."""
    # Example: `RUN install` and, on top of it, `RUN build` are saved at 10:00. At 11:00 a forced run gives `install`
    # another result, and only that is saved. `build` was proven at 10:00, its input changed at 11:00: the link is cut,
    # for restoring `build` would ship the old `install`. Without any link left for an input, `build` is dropped.
    kept: dict[str, CacheRecord] = {}
    changed_at: dict[str, datetime] = {}
    for identity in _inputs_first(records):
        record = records[identity]
        inputs = []
        for alternatives in record.inputs:
            inputs.append(_current_links(record, alternatives, changed_at))
        if all(inputs):
            record = replace(record, inputs=tuple(inputs))
            changed_at[identity] = _find_change(record, changed_at)
            newest = record.results[-1:]
            kept[identity] = replace(record, results=newest)
    return kept


def _current_links(
    record: CacheRecord,
    alternatives: Iterable[CacheInput],
    changed_at: Mapping[str, datetime],
) -> tuple[CacheInput, ...]:
    """Return the links to records that are kept and have not changed since this one was last proven."""
    links = []
    for link in alternatives:
        if link.record not in changed_at:
            continue
        input_changed_at = changed_at[link.record]
        if record.result is None or input_changed_at <= record.result.proven_at:
            links.append(link)
    return tuple(links)


def _find_change(record: CacheRecord, changed_at: Mapping[str, datetime]) -> datetime:
    """Return when the step first gave its current result; without result, when the last of its inputs changed.

    A forced step, or one on top of it, may give the same result again: that is not a change. A record without inputs
    is a source (an image, local files): it does not run.
    """
    if not record.inputs:
        return DEFAULT_TIME
    if record.result is None:
        return max(changed_at[link] for link in record.links)
    first_created = record.result.created_at
    for result in reversed(record.results):
        if result.layers != record.result.layers:
            break
        first_created = min(first_created, result.created_at)
    return first_created


def _update_identities(cache: CacheConfig) -> CacheConfig:
    """Give records the identity of their content now, so that merging in any order has the same outcome."""
    identities: dict[str, str] = {}
    records: dict[str, CacheRecord] = {}
    for identity in _inputs_first(cache.records):
        record = cache.records[identity].relink(identities)
        identities[identity] = record.identity
        records[record.identity] = record
    return CacheConfig(layers=cache.layers, records=records)


def _drop_unused(layers: Mapping[str, CacheLayer], records: Records) -> CacheConfig:
    """Drop the records that no result depends on, and the layers of no result."""
    with_result: list[str] = []
    top_layers: list[str] = []
    for identity, record in records.items():
        if record.result:
            with_result.append(identity)
            top_layers += record.result.layers
    needed_records = _reach_all(with_result, lambda identity: records[identity].links)
    needed_layers = _reach_all(top_layers, lambda identity: _list_parent(layers[identity]))
    # In the order of the caches, not of the sets
    return CacheConfig(
        layers={identity: layers[identity] for identity in layers if identity in needed_layers},
        records={identity: records[identity] for identity in records if identity in needed_records},
    )


def _list_parent(layer: CacheLayer) -> list[str]:
    return [] if layer.parent is None else [layer.parent]


def _reach_all(
    start: Iterable[str],
    below: Callable[[str], Iterable[str]],
) -> set[str]:
    """Return `start` and everything that is reachable from it through `below`."""
    reached: set[str] = set()
    queue = list(start)
    while queue:
        identity = queue.pop()
        if identity not in reached:
            reached.add(identity)
            queue += below(identity)
    return reached
