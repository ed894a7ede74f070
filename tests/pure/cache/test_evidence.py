"""Test whether the content of a saved cache is still available to a build."""

from __future__ import annotations

import pytest

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.evidence import available_evidence, collect_evidence
from stagebake.cache.merge import drop_blobs, merge_caches
from tests.support.caches import REAL, T1, T2, T3, cache_of, layer, real, record


@pytest.mark.parametrize("stage", REAL)
def test_evidence_of_saved_cache_is_in_merged_cache(stage: str) -> None:
    """Find each real cache's evidence in all of them merged, also after they are written and read again."""
    caches = [real(name) for name in REAL]
    evidence = collect_evidence(real(stage))
    assert evidence
    assert evidence <= available_evidence(caches)
    document = serialize_cache(merge_caches(caches))
    reread = parse_cache(document.manifest, document.config)
    assert evidence <= available_evidence([reread])


@pytest.mark.parametrize("stage", REAL)
def test_evidence_with_any_blob_dropped_is_missing(stage: str) -> None:
    saved = real(stage)
    evidence = collect_evidence(saved)
    for blob in saved.blob_sizes():
        remaining = [drop_blobs(real(name), frozenset({blob})) for name in REAL]
        assert not evidence <= available_evidence(remaining)


def build_chain(at: str, base_at: str = T1, base: str = "base") -> CacheConfig:
    """Return a cache with a source, `RUN base` on top of it, and `RUN app` on top of that."""
    return cache_of(
        layer(base),
        layer(f"app on {base}", 0),
        records=[
            record("source"),
            record("RUN base", [0], layer=0, at=base_at),
            record("RUN app", [1], layer=1, at=at),
        ],
    )


def test_evidence_of_outdated_link_is_missing() -> None:
    """Miss the evidence of a step whose input has run again since: the step would run too."""
    old = build_chain(at=T2)
    newer_run = record("RUN base", [0], layer=0, at=T3)
    newer_base = cache_of(layer("new"), records=[record("source"), newer_run])
    assert collect_evidence(old) <= available_evidence([old])
    assert not collect_evidence(old) <= available_evidence([old, newer_base])
    assert collect_evidence(newer_base) <= available_evidence([old, newer_base])


def test_evidence_of_replaced_result_is_missing() -> None:
    """Find the newer evidence and miss the older one where both steps ran again."""
    old = build_chain(at=T1)
    new = build_chain(at=T3, base_at=T3, base="new")
    assert collect_evidence(new) <= available_evidence([old, new])
    assert not collect_evidence(old) <= available_evidence([old, new])


def test_evidence_of_same_step_on_another_base_is_missing() -> None:
    """Distinguish steps with the same digest and different inputs."""
    cache = build_chain(at=T1)
    other = cache_of(
        layer("base"),
        layer("app on base", 0),
        records=[record("elsewhere"), record("RUN other", [0], layer=0), record("RUN app", [1], layer=1)],
    )
    assert not collect_evidence(cache) <= available_evidence([other])


def test_evidence_beside_another_branch_is_available() -> None:
    cache = build_chain(at=T1)
    other = cache_of(layer("x"), records=[record("other source"), record("RUN x", [0], layer=0)])
    assert collect_evidence(cache) <= available_evidence([other, cache])
