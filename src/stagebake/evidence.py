"""What of a saved cache has to be in the cache that a build reads, so that BuildKit restores the same from it. Pure.

A cache is named piece by piece: each link from a step to an input of it, with the results of both. Joining caches may
add links and results, so the pieces of the one saved are looked for among those of the joined one; a link that was cut
there, or a result that a newer one has replaced, is missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from stagebake import compose
from stagebake.oci import Cache, Record

Evidence = frozenset[str]

_DIGITS = 16


def of(cache: Cache) -> Evidence:
    """The pieces of a saved cache, each as exact as it is."""
    return frozenset(_name(*piece[0]) for piece in _pieces(compose.join([cache])))


def available(caches: Iterable[Cache]) -> Evidence:
    """The pieces that a build finds which reads these caches joined, also in the less exact forms."""
    return frozenset(_name(*form) for piece in _pieces(compose.join(caches)) for form in piece)


def _pieces(cache: Cache) -> Iterator[list[tuple[object, ...]]]:
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


def _results(record: Record) -> list[tuple[str, ...] | None]:
    return [record.result.layers, None] if record.result else [None]


def _name(*piece: object) -> str:
    return hashlib.sha256(repr(piece).encode()).hexdigest()[:_DIGITS]
