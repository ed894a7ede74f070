"""Compare what a saved cache contains with what a build can import. Pure.

Evidence is a set of names, one for each link from a step to one of its inputs together with the results of both.
Merging may add links and results, so a saved cache is fully available when its evidence is a subset of the merged
cache's. Evidence is missing where merging cut the link or where a newer result has replaced one of the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from stagebake.cache.cache_config import CacheConfig, CacheRecord
from stagebake.cache.merge import merge_caches

Evidence = frozenset[str]

# Hexadecimal digits of the hash that names a piece of evidence
_DIGITS = 16

# Fields of a piece of evidence, in the order in which they are hashed
_Piece = tuple[object, ...]


def collect_evidence(cache: CacheConfig) -> Evidence:
    """Return the evidence of a saved cache: for each link its most exact form."""
    merged = merge_caches([cache])
    return frozenset(_hash_piece(forms[0]) for forms in _evidence_forms(merged))


def available_evidence(caches: Iterable[CacheConfig]) -> Evidence:
    """Return the evidence that a build finds when it imports these caches merged, in every form."""
    merged = merge_caches(caches)
    names: set[str] = set()
    for forms in _evidence_forms(merged):
        names.update(_hash_piece(form) for form in forms)
    return frozenset(names)


def _evidence_forms(cache: CacheConfig) -> Iterator[list[_Piece]]:
    """Yield the forms of each piece, most exact first.

    A link has up to four forms: with and without the result at either end. A saved cache may know a step by its key
    alone, while the merged cache has its result too.
    """
    for record in cache.records.values():
        if not record.inputs:
            yield [(record.digest, layers) for layers in _possible_results(record)]
        for position, alternatives in enumerate(record.inputs):
            for link in alternatives:
                source = cache.records[link.record]
                yield _link_forms(record, position, source, link.selector)


def _link_forms(record: CacheRecord, position: int, source: CacheRecord, selector: str) -> list[_Piece]:
    forms: list[_Piece] = []
    for layers in _possible_results(record):
        for source_layers in _possible_results(source):
            forms.append(
                (
                    record.digest,
                    layers,
                    position,
                    source.digest,
                    source_layers,
                    selector,
                )
            )
    return forms


def _possible_results(record: CacheRecord) -> list[tuple[str, ...] | None]:
    """Return the layers of the record's result and None for "without result"."""
    if record.result is None:
        return [None]
    return [record.result.layers, None]


def _hash_piece(piece: _Piece) -> str:
    text = repr(piece)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
