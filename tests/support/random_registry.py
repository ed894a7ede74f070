"""Draw random repositories: images for several platforms, attestations, signatures, foreign tags, and caches."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from stagebake.cache.cache_config import serialize_cache
from stagebake.cache.manifest import CONFIG_TYPE, LEDGER_TYPE, build_artifact
from stagebake.cache.merge import merge_caches
from stagebake.cache.scopes import DEFAULT_SCOPE, GENERATIONS, Scope
from stagebake.inventory.read_contents import read_cache_configs, read_contents
from tests.support.memory_registry import MemoryRegistry

FEATURE, SEVEN = Scope("feature"), Scope("pr-7", pull_request=True)
SCOPES = (DEFAULT_SCOPE, FEATURE, SEVEN)
STAGES = ("base", "app")
LAYERS = [f"layer-{letter}" for letter in "abcdefgh"]
DAY = 86_400.0
DATES = ["2027-01-15T08:00:00Z", "2027-01-01T00:00:00Z", "2026-11-20T10:00:00Z", "0001-01-01T00:00:00Z"]


@dataclass
class RandomRegistry:
    """Repository, and the digests that must survive whatever happens: everything that is not provably a cache."""

    registry: MemoryRegistry
    precious: set[str] = field(default_factory=set)


@st.composite
def random_registries(draw: st.DrawFn) -> RandomRegistry:
    """Draw a repository; with `lists_untagged` it is one on ghcr.io."""
    registry = MemoryRegistry(lists_untagged=draw(st.booleans()))
    made = RandomRegistry(registry)
    _draw_images(draw, made)
    for scope in SCOPES:
        _draw_scope(draw, registry, scope)
    for number in range(draw(st.integers(0, 4))):
        registry.now = _draw_time(draw)
        registry.put_cache(*_draw_layers(draw), at=DATES[number % 4])
    _draw_odd_caches(draw, made)
    registry.now = MemoryRegistry.now
    return made


def _draw_time(draw: st.DrawFn) -> float:
    return MemoryRegistry.now - draw(st.sampled_from([0.0, 1.0, 3.0, 40.0])) * DAY


def _draw_layers(draw: st.DrawFn) -> list[str]:
    return draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3, unique=True))


def _draw_images(draw: st.DrawFn, made: RandomRegistry) -> None:
    """Push images: alone, in an index with an attestation, in an index of indexes; some of them without a tag."""
    registry = made.registry
    for number in range(draw(st.integers(0, 3))):
        registry.now = _draw_time(draw)
        tags = draw(st.sampled_from([(), (f"v{number}",), (f"v{number}", f"cache-image{number}")]))
        platforms = []
        for platform in ("amd64", "arm64")[: draw(st.integers(1, 2))]:
            platforms.append(registry.put_image(f"{number} {platform}", layers=_draw_layers(draw)))
        made.precious.update(platforms)
        if draw(st.booleans()):
            subject = {"subject": {"mediaType": "any", "digest": platforms[0], "size": 1}}
            platforms.append(registry.put_image(f"attestation {number}", **subject))
            made.precious.add(platforms[-1])
        index = registry.put_index(*platforms, tags=tags)
        outer = registry.put_index(index, tags=[f"outer{number}"])
        made.precious.update({index, outer})
    lone = registry.put_image(
        "lone", *draw(st.sampled_from([(), ("cache-lone",), ("cache1-base",)])), layers=["layer-a"]
    )
    made.precious.add(lone)
    made.precious.add(registry.put({"layers": [], "config": registry.put_blob(b"chart", "helm")}, "chart"))


def _draw_scope(draw: st.DrawFn, registry: MemoryRegistry, scope: Scope) -> None:
    """Push stage caches of a scope, the merged cache, a ledger and a mount; each of them may be missing."""
    for stage in STAGES:
        for generation in range(draw(st.integers(0, GENERATIONS))):
            registry.now = _draw_time(draw)
            tag = scope.stage_tag(stage, generation)
            registry.put_cache(*_draw_layers(draw), tags=[tag], at=draw(st.sampled_from(DATES)))
    if draw(st.booleans()):
        merge_scope(registry, scope)
    if draw(st.booleans()):
        registry.push_manifest(build_artifact(f"ledger {scope.suffix}".encode(), LEDGER_TYPE), scope.ledger_tag)
    if draw(st.booleans()):
        registry.put_mount(f"mount {scope.suffix}", scope.mount_tag("npm"))


def merge_scope(registry: MemoryRegistry, scope: Scope) -> None:
    """Merge the stage caches that a build in a scope reads, as a push does."""
    contents = read_contents(registry, registry)
    wanted = [
        one.stage_tag(stage, age) for one in (scope, DEFAULT_SCOPE) for stage in STAGES for age in range(GENERATIONS)
    ]
    manifests = [contents.by_tag[tag] for tag in wanted if tag in contents.by_tag]
    merged = merge_caches(read_cache_configs(registry, manifests).values())
    if merged.records:
        registry.push_manifest(serialize_cache(merged), scope.merged_tag)


def _draw_odd_caches(draw: st.DrawFn, made: RandomRegistry) -> None:
    """Push caches that must stay: part of an index, signed, a signature, and one with a foreign tag."""
    registry = made.registry
    registry.now = MemoryRegistry.now - 40 * DAY
    if draw(st.booleans()):
        child = registry.put_cache("layer-1", at=DATES[2])
        made.precious.update({child, registry.put_index(child)})
    if draw(st.booleans()):
        signed = registry.put_cache("layer-2", at=DATES[2])
        signature = registry.put_image("signature", f"sha256-{signed.removeprefix('sha256:')}.sig")
        made.precious.update({signed, signature})
    if draw(st.booleans()):
        subject = registry.put_cache("layer-3", at=DATES[2])
        referrer = {"subject": {"mediaType": "any", "digest": subject, "size": 1}}
        config = registry.put_blob(b"{}", CONFIG_TYPE)
        made.precious.update({subject, registry.put({"config": config, "layers": [], **referrer})})
    if draw(st.booleans()):
        tags = ["buildcache", DEFAULT_SCOPE.stage_tag("app", 2)]
        made.precious.add(registry.put_cache("layer-4", tags=tags, at=DATES[2]))
