"""Whether what a saved cache held is still in what a build reads."""

from __future__ import annotations

import pytest

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.evidence import available_evidence, collect_evidence
from stagebake.cache.merge import drop_blobs, merge_caches
from tests.support.caches import CACHES, REAL, T1, T2, T3, cache_of, layer, record


def saved(stage: str) -> CacheConfig:
    """A cache as BuildKit wrote it."""
    return parse_cache((CACHES / f"{stage}.manifest.json").read_bytes(), (CACHES / f"{stage}.config.json").read_bytes())


@pytest.mark.parametrize("stage", REAL)
def test_what_was_saved_is_found_in_the_composed_cache(stage: str) -> None:
    """Of real caches joined, each one's evidence is there, and still is when they are written and read again."""
    joined = [saved(name) for name in REAL]
    assert collect_evidence(saved(stage))
    assert collect_evidence(saved(stage)) <= available_evidence(joined)
    document = serialize_cache(merge_caches(joined))
    assert collect_evidence(saved(stage)) <= available_evidence([parse_cache(document.manifest, document.config)])


@pytest.mark.parametrize("stage", REAL)
def test_what_stands_on_a_lost_blob_is_missed(stage: str) -> None:
    """Whichever blob of a stage is left out, its evidence is no longer there."""
    whole = saved(stage)
    for blob in whole.blob_sizes():
        left = [drop_blobs(saved(name), frozenset({blob})) for name in REAL]
        assert not collect_evidence(whole) <= available_evidence(left)


def chain(at: str, base_at: str = T1, base: str = "base") -> CacheConfig:
    """A source, a step of the base on it, and a step on that."""
    return cache_of(
        layer(base),
        layer(f"app on {base}", 0),
        records=[
            record("source"),
            record("RUN base", [0], layer=0, at=base_at),
            record("RUN app", [1], layer=1, at=at),
        ],
    )


def test_a_link_that_was_cut_is_missed() -> None:
    """The base was run again later, and what stood on the old one was not: that would run."""
    old = chain(at=T2)
    base_anew = cache_of(layer("anew"), records=[record("source"), record("RUN base", [0], layer=0, at=T3)])
    assert collect_evidence(old) <= available_evidence([old])
    assert not collect_evidence(old) <= available_evidence([old, base_anew])
    assert collect_evidence(base_anew) <= available_evidence([old, base_anew])


def test_a_result_that_a_newer_one_replaced_is_missed() -> None:
    """Both were run again: the new evidence is there, the old is not."""
    old, new = chain(at=T1), chain(at=T3, base_at=T3, base="anew")
    assert collect_evidence(new) <= available_evidence([old, new])
    assert not collect_evidence(old) <= available_evidence([old, new])


def test_the_same_step_on_another_base_is_no_evidence() -> None:
    """A step of the same name whose input is another one does not stand for it."""
    one = chain(at=T1)
    other = cache_of(
        layer("base"),
        layer("app on base", 0),
        records=[record("elsewhere"), record("RUN other", [0], layer=0), record("RUN app", [1], layer=1)],
    )
    assert not collect_evidence(one) <= available_evidence([other])


def test_more_in_the_joined_cache_does_no_harm() -> None:
    """Another branch's caches beside it leave the evidence where it was."""
    other = cache_of(layer("x"), records=[record("other source"), record("RUN x", [0], layer=0)])
    assert collect_evidence(chain(at=T1)) <= available_evidence([other, chain(at=T1)])
