"""List the caches of a repository by scope and stage: what each takes, alone and together with the image. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stagebake.inventory.cache_tags import CacheTag, TagKind, parse_cache_tag
from stagebake.inventory.contents import OWN_KINDS, Contents, StoredManifest

# Seconds in a week: the time over which the caches' growth is shown
WEEK_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """Caches of one stage, one mount or the ledger in one scope; sizes in bytes.

    `shared` is the part of `bytes` that an image has too, `alone` the part that no other stage and no image names.
    `created` is when the newest result was created, in seconds since 1970, None if not known. `tags` are sorted by
    generation. `kind` is STAGE for a stage, whose name may be one that the Dockerfile no longer has.
    """

    scope: str
    kind: TagKind
    name: str
    tags: tuple[str, ...]
    bytes: int
    shared: int
    alone: int
    created: float | None = None


@dataclass(frozen=True, kw_only=True)
class CacheListing:
    """Everything that `cache ls` shows; sizes in bytes.

    `cache_bytes` is what all caches take, `cache_only` the part that no image has, `grown` what of that the caches of
    the last seven days brought. `untagged` are the caches without a tag and `untagged_bytes` what no tag names of them;
    None where the registry does not list them. `misplaced` are the tags of caches that hold something else.
    """

    entries: tuple[CacheEntry, ...]
    cache_bytes: int
    cache_only: int
    grown: int
    image_bytes: int
    image_tags: int
    untagged: int | None
    untagged_bytes: int | None
    misplaced: tuple[str, ...] = ()


_Row = tuple[str, TagKind, str]


def list_caches(
    contents: Contents,
    times: Mapping[str, float],
    scope_names: Mapping[str, str],
    now: float,
) -> CacheListing:
    """Return the listing; `times` is when the newest result of each cache was created, by the cache's digest.

    `scope_names` is the name of the scope of each suffix; the default branch comes first.
    """
    rows: dict[_Row, list[tuple[CacheTag, StoredManifest]]] = {}
    misplaced: list[str] = []
    for tag, manifest in contents.by_tag.items():
        cache_tag = parse_cache_tag(tag)
        if cache_tag is None:
            continue
        if manifest.kind not in OWN_KINDS:
            misplaced.append(tag)
            continue
        row = (cache_tag.suffix, cache_tag.kind, cache_tag.name)
        rows.setdefault(row, []).append((cache_tag, manifest))
    holders = _count_holders(rows)
    entries = [
        _make_entry(rows[row], scope_names[row[0]], contents, times, holders) for row in sorted(rows, key=_sort_key)
    ]
    caches = _find_caches(contents)
    cache_only = _join_sizes(caches).items() - contents.image_blobs.items()
    tagged = _join_sizes(manifest for manifest in contents.manifests.values() if manifest.tags)
    untagged_blobs = _join_sizes(contents.untagged_caches).items() - tagged.items() - contents.image_blobs.items()
    return CacheListing(
        entries=tuple(entries),
        cache_bytes=sum(_join_sizes(caches).values()),
        cache_only=_sum_sizes(cache_only),
        grown=_sum_sizes(cache_only - _join_sizes(_find_older(caches, times, now - WEEK_SECONDS)).items()),
        image_bytes=sum(contents.image_blobs.values()),
        image_tags=sum(1 for tag, manifest in contents.by_tag.items() if manifest.kind not in OWN_KINDS),
        untagged=len(contents.untagged_caches) if contents.lists_untagged else None,
        untagged_bytes=_sum_sizes(untagged_blobs) if contents.lists_untagged else None,
        misplaced=tuple(sorted(misplaced)),
    )


def _make_entry(
    tagged: Sequence[tuple[CacheTag, StoredManifest]],
    scope: str,
    contents: Contents,
    times: Mapping[str, float],
    holders: Mapping[str, int],
) -> CacheEntry:
    blobs = _join_sizes(manifest for _, manifest in tagged)
    shared = blobs.items() & contents.image_blobs.items()
    alone = [(digest, size) for digest, size in blobs.items() - shared if holders.get(digest) == 1]
    known = [time for _, manifest in tagged if (time := find_time(manifest, times)) is not None]
    first = tagged[0][0]
    in_order = sorted(tagged, key=lambda pair: pair[0].generation)
    return CacheEntry(
        scope=scope,
        kind=first.kind,
        name=first.name,
        tags=tuple(cache_tag.tag for cache_tag, _ in in_order),
        bytes=sum(blobs.values()),
        shared=_sum_sizes(shared),
        alone=_sum_sizes(alone),
        created=max(known, default=None),
    )


def find_time(manifest: StoredManifest, times: Mapping[str, float]) -> float | None:
    """Return when a cache was created, or pushed where its results tell nothing; None if neither is known."""
    return times.get(manifest.digest, manifest.touched)


def _count_holders(rows: Mapping[_Row, Sequence[tuple[CacheTag, StoredManifest]]]) -> Counter[str]:
    """Return how many rows name each blob. A merged cache repeats what the stage caches hold, so it does not count."""
    holders: Counter[str] = Counter()
    for (_, kind, _), tagged in rows.items():
        if kind is not TagKind.MERGED:
            holders.update(_join_sizes(manifest for _, manifest in tagged).keys())
    return holders


def _find_caches(contents: Contents) -> list[StoredManifest]:
    """Return the tagged caches of stagebake and all untagged caches."""
    tagged = []
    for tag, manifest in contents.by_tag.items():
        if manifest.kind in OWN_KINDS and parse_cache_tag(tag) is not None:
            tagged.append(manifest)
    return [*tagged, *contents.untagged_caches]


def _find_older(caches: Iterable[StoredManifest], times: Mapping[str, float], limit: float) -> list[StoredManifest]:
    """Return the caches that were created before `limit`; one of unknown time counts as old."""
    return [cache for cache in caches if (find_time(cache, times) or 0.0) < limit]


def _join_sizes(manifests: Iterable[StoredManifest]) -> dict[str, int]:
    """Return digest and size of every blob, and of the manifests themselves."""
    joined: dict[str, int] = {}
    for manifest in manifests:
        joined[manifest.digest] = manifest.size
        joined.update(manifest.blobs)
    return joined


def _sum_sizes(blobs: Iterable[tuple[str, int]]) -> int:
    return sum(size for _, size in blobs)


def _sort_key(row: _Row) -> tuple[str, int, str]:
    """Sort by scope, the default branch first; then stages, mounts, the merged cache and the ledger."""
    suffix, kind, name = row
    order = (TagKind.STAGE, TagKind.MOUNT, TagKind.MERGED, TagKind.LEDGER)
    return suffix, order.index(kind), name
