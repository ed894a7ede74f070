"""Decide which caches of a repository to delete. Pure.

Two rules protect everything else, whatever the policy says. A manifest is deleted only if its media type proves that it
is a cache and no other manifest names it (`contents.is_provably_cache`): so no image, platform of an image or
attestation is. And it is deleted only if the policy gives up every tag that names it; one without tags only after the
grace time, because a build may have pushed it and read it since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stagebake.inventory.cache_tags import CacheTag, TagKind, parse_cache_tag
from stagebake.inventory.contents import OWN_KINDS, Contents, StoredManifest, is_provably_cache
from stagebake.inventory.listing import find_time

# Seconds after which no build reads a manifest without a tag: stores.registry pushes one again each day, and a job on a
# runner hosted by GitHub ends after six hours
GRACE_SECONDS = 48 * 3600.0

_WHOLE_CACHES = (TagKind.STAGE, TagKind.MOUNT)


@dataclass(frozen=True, kw_only=True)
class PrunePolicy:
    """What to give up. Without any choice only caches without a tag, which no build reads.

    `keep` is the number of results that each stage keeps, `older_than` an age in seconds, `gone` the suffixes of the
    scopes whose branch or pull request no longer exists, `limit` the bytes that caches may take beside the images.
    `now` is in seconds since 1970, `grace` in seconds.
    """

    now: float
    keep: int | None = None
    older_than: float | None = None
    gone: frozenset[str] = frozenset()
    limit: int | None = None
    grace: float = GRACE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Manifest to delete, and why."""

    manifest: StoredManifest
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """Merged cache that has to be pushed again without the results that need `blobs`."""

    tag: str
    manifest: StoredManifest
    blobs: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """What to delete and to push again; sizes in bytes.

    `freed` is what nothing names any more, `freed_later` what only caches without a tag name that are still within the
    grace time. `young` counts these. `remaining` is what the tagged caches take then beside the images, `before` what
    they took.
    """

    deletions: tuple[Deletion, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    freed: int = 0
    freed_later: int = 0
    young: int = 0
    before: int = 0
    remaining: int = 0


def plan_prune(contents: Contents, times: Mapping[str, float], policy: PrunePolicy) -> PrunePlan:
    """Return what to delete; `times` is when the newest result of each cache was created, by the cache's digest."""
    selection = _Selection(contents=contents, times=times, policy=policy)
    selection.choose_gone()
    selection.choose_generations()
    selection.choose_old()
    selection.choose_beyond_limit()
    selection.choose_derived()
    deletions = sorted((*selection.list_tagged(), *selection.list_untagged()), key=_name_deletion)
    deleted = {deletion.manifest.digest for deletion in deletions}
    rewrites = tuple(_find_rewrites(contents, deleted))
    freed, freed_later = _count_freed(contents, deleted, rewrites)
    return PrunePlan(
        deletions=tuple(deletions),
        rewrites=rewrites,
        freed=freed,
        freed_later=freed_later,
        young=len(contents.untagged_caches) - sum(1 for deletion in deletions if not deletion.manifest.tags),
        before=selection.bytes_at_first,
        remaining=selection.count_bytes(),
    )


def _name_deletion(deletion: Deletion) -> tuple[list[str], str]:
    """Return the key that sorts deletions for people: by tags, those without first."""
    return sorted(deletion.manifest.tags), deletion.manifest.digest


@dataclass(kw_only=True)
class _Selection:
    """Tags that the policy gives up, each with the reason."""

    contents: Contents
    times: Mapping[str, float]
    policy: PrunePolicy
    reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tags = tuple(_find_cache_tags(self.contents))
        self.bytes_at_first = self.count_bytes()

    def choose_gone(self) -> None:
        """Give up every tag of a scope whose branch or pull request no longer exists."""
        for tag in self._tags:
            if tag.suffix in self.policy.gone and tag.suffix:
                self._choose(tag, "its branch or pull request no longer exists")

    def choose_generations(self) -> None:
        """Give up older results of stages."""
        keep = self.policy.keep
        for tag in self._tags:
            if keep is not None and tag.kind is TagKind.STAGE and tag.generation >= keep > 0:
                self._choose(tag, f"each stage keeps {keep}")

    def choose_old(self) -> None:
        """Give up what is older than the policy allows, but no current result of the default branch."""
        age = self.policy.older_than
        if age is None:
            return
        for tag in self._tags:
            created = self._find_time(tag)
            is_old = created is not None and created < self.policy.now - age
            if is_old and tag.kind in _WHOLE_CACHES and not _is_current(tag):
                self._choose(tag, f"older than {age / 86_400:g} days")

    def choose_beyond_limit(self) -> None:
        """Give up caches until the rest fits: of branches first, the oldest first, then older results.

        Then the mounts of the default branch; its current results stay in any case.
        """
        limit = self.policy.limit
        if limit is None:
            return
        candidates = [tag for tag in self._tags if tag.kind in _WHOLE_CACHES and tag.tag not in self.reasons]
        holders = self._count_holders()
        total = sum(size for (_, size), count in holders.items() if count)
        for tag in sorted(candidates, key=self._distance):
            if total <= limit:
                return
            if tag.kind is TagKind.STAGE and _is_current(tag):
                continue
            self._choose(tag, "over the limit")
            for blob in self._own_blobs(tag) if self._is_given_up(tag) else ():
                holders[blob] -= 1
                total -= 0 if holders[blob] else blob[1]

    def choose_derived(self) -> None:
        """Give up the merged cache and the ledger of a scope of which nothing else is left."""
        for tag in self._tags:
            others = [other for other in self._tags if other.suffix == tag.suffix and other.kind in _WHOLE_CACHES]
            chosen = [other for other in others if other.tag in self.reasons]
            if tag.suffix and chosen and len(chosen) == len(others) and tag.kind not in _WHOLE_CACHES:
                self._choose(tag, self.reasons[chosen[0].tag])

    def list_tagged(self) -> Iterator[Deletion]:
        """Yield the manifests of which every tag is given up."""
        for manifest in self.contents.manifests.values():
            if manifest.tags and self._are_given_up(manifest):
                reasons = sorted({self.reasons[tag] for tag in manifest.tags})
                yield Deletion(manifest=manifest, reason=", ".join(reasons))

    def list_untagged(self) -> Iterator[Deletion]:
        """Yield the caches without a tag that are older than the grace time; one of unknown age stays."""
        for manifest in self.contents.untagged_caches:
            if manifest.key and manifest.touched is not None and manifest.touched < self.policy.now - self.policy.grace:
                yield Deletion(manifest=manifest, reason="no tag names it")

    def count_bytes(self) -> int:
        """Return the bytes that the tagged caches take beside the images, without those that are given up."""
        return sum(size for (_, size), count in self._count_holders().items() if count)

    def _count_holders(self) -> Counter[tuple[str, int]]:
        """Return how many manifests name each blob that no image has. A merged cache repeats the stage caches."""
        holders: Counter[tuple[str, int]] = Counter()
        seen: set[str] = set()
        for tag in self._tags:
            manifest = self.contents.by_tag[tag.tag]
            if tag.kind is not TagKind.MERGED and manifest.digest not in seen and not self._are_given_up(manifest):
                seen.add(manifest.digest)
                holders.update(self._own_blobs(tag))
        return holders

    def _own_blobs(self, tag: CacheTag) -> set[tuple[str, int]]:
        return set(_named_bytes(self.contents.by_tag[tag.tag]).items() - self.contents.image_blobs.items())

    def _choose(self, tag: CacheTag, reason: str) -> None:
        self.reasons.setdefault(tag.tag, reason)

    def _is_given_up(self, tag: CacheTag) -> bool:
        return self._are_given_up(self.contents.by_tag[tag.tag])

    def _are_given_up(self, manifest: StoredManifest) -> bool:
        return manifest.tags <= self.reasons.keys()

    def _find_time(self, tag: CacheTag) -> float | None:
        return find_time(self.contents.by_tag[tag.tag], self.times)

    def _distance(self, tag: CacheTag) -> tuple[object, ...]:
        """Return the sort key by which caches are given up: farthest and oldest first."""
        created = self._find_time(tag) or 0.0
        if tag.suffix:
            return (0, created, -tag.generation, tag.tag)
        return (1, -tag.generation, created, tag.tag)


def _find_cache_tags(contents: Contents) -> Iterator[CacheTag]:
    """Yield the tags of caches whose manifest is provably a cache."""
    for tag, manifest in sorted(contents.by_tag.items()):
        cache_tag = parse_cache_tag(tag)
        if cache_tag is not None and manifest.key and is_provably_cache(manifest, contents):
            yield cache_tag


def _is_current(tag: CacheTag) -> bool:
    """Tell whether a tag is a current result, a mount, the merged cache or the ledger of the default branch."""
    return not tag.suffix and not tag.generation


def _find_rewrites(contents: Contents, deleted: set[str]) -> Iterator[Rewrite]:
    """Yield the merged caches that stay, with the blobs that only deleted caches of the same scopes brought in."""
    for tag in _find_cache_tags(contents):
        merged = contents.by_tag[tag.tag]
        if tag.kind is TagKind.MERGED and merged.digest not in deleted:
            lost, kept = _split_blobs(contents, tag.suffix, deleted)
            blobs = merged.blobs.keys() & lost - kept - {merged.config}
            if blobs:
                yield Rewrite(tag=tag.tag, manifest=merged, blobs=frozenset(blobs))


def _split_blobs(contents: Contents, suffix: str, deleted: set[str]) -> tuple[set[str], set[str]]:
    """Return the blobs of the stage caches that a build in a scope reads: of deleted ones, and of those that stay."""
    lost: set[str] = set()
    kept: set[str] = set()
    for tag in _find_cache_tags(contents):
        manifest = contents.by_tag[tag.tag]
        if tag.kind is TagKind.STAGE and tag.suffix in (suffix, ""):
            (lost if manifest.digest in deleted else kept).update(manifest.blobs)
    return lost, kept


def _count_freed(contents: Contents, deleted: set[str], rewrites: Iterable[Rewrite]) -> tuple[int, int]:
    """Return the bytes that nothing names afterwards, and those that only caches without a tag name.

    The manifest that a rewritten merged cache had before is such a cache then.
    """
    given_up = {rewrite.manifest.digest: rewrite.blobs for rewrite in rewrites}

    def stays(manifest: StoredManifest) -> bool:
        return manifest.digest not in deleted

    def stays_tagged(manifest: StoredManifest) -> bool:
        is_untagged_cache = manifest.kind in OWN_KINDS and not manifest.tags
        return stays(manifest) and not is_untagged_cache

    after = _join_named(contents, stays_tagged, given_up)
    meanwhile = _join_named(contents, stays, {}) if contents.lists_untagged else after
    before = _join_named(contents, lambda _: True, {})
    freed = sum(size for digest, size in before.items() if digest not in meanwhile)
    total = sum(size for digest, size in before.items() if digest not in after)
    return freed, total - freed


def _join_named(
    contents: Contents,
    is_kept: Callable[[StoredManifest], bool],
    without: Mapping[str, frozenset[str]],
) -> dict[str, int]:
    """Return the manifests that are kept and the blobs that they name, with their sizes in bytes."""
    named: dict[str, int] = {}
    for manifest in contents.manifests.values():
        if is_kept(manifest):
            left_out = without.get(manifest.digest, frozenset())
            named |= {digest: size for digest, size in _named_bytes(manifest).items() if digest not in left_out}
    return named


def _named_bytes(manifest: StoredManifest) -> dict[str, int]:
    return {manifest.digest: manifest.size, **manifest.blobs}
