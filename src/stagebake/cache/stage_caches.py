"""The caches of one image in its registry: which refs there are, what can be trusted, what they make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from stagebake.cache.manifest import (
    CacheConfig,
    InvalidCache,
    ManifestAndConfig,
    config_digest,
    image_manifests,
    layer_sizes,
    parse_cache,
    serialize_cache,
    sha256_digest,
)
from stagebake.cache.merge import drop_blobs, merge_caches
from stagebake.cache.scopes import GENERATIONS, Access, Scope
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import RegistryError, Spoiled

# Size of a blob that the registry has without saying how large it is
SIZE_UNKNOWN = -1

# How many tags a warning names
_NAMED = 4

# What a ref will hold when it is asked again: a cache, something else, or a config with wrong bytes
_LASTING = (CacheConfig, InvalidCache, Spoiled)

Made = TypeVar("Made")
Answers = Mapping[str, bytes | RegistryError | None]


class CacheRepository(Protocol):
    """What this module asks of a registry; `registry.Registry` is one."""

    image: str

    def import_source(self, digest: str, tag: str | None) -> str: ...

    def read_manifest(self, reference: str) -> bytes | None: ...

    def read_manifests(self, references: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...

    def read_blob_sizes(self, digests: Iterable[str]) -> dict[str, int | RegistryError | None]: ...

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str: ...

    def remove_unused_blobs(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class StageCache:
    """What one ref holds. `stage` is None for a composed cache; `whole` is False where broken results were left out.

    `foreign` tells that the ref holds something else than a cache, which is to be replaced. `digest` is that of the
    manifest as it lies in the registry.
    """

    tag: str
    scope: Scope
    cache: CacheConfig
    stage: str | None = None
    generation: int = 0
    whole: bool = True
    foreign: bool = False
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class StageCaches:
    """The caches that a build may read, nearest scope first, and what was wrong with the others.

    `published` is the ref of a composed cache that is read as it lies in the registry. `poisoned` are blobs that the
    registry has with wrong bytes: it would not take them again, so what is rebuilt must not become the same blob.
    `unseen` are blobs that could not be looked at; `unread` says why one of them, or a ref, could not be, else "".
    """

    caches: tuple[StageCache, ...] = ()
    merged_source: str | None = None
    corrupt_blobs: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    unchecked_blobs: frozenset[str] = frozenset()
    read_failure: str = ""

    @property
    def healed(self) -> tuple[str, ...]:
        """The stages of which something broken was left out."""
        left_out = (
            stage_cache.stage for stage_cache in self.caches if not stage_cache.whole and not stage_cache.foreign
        )
        return tuple(dict.fromkeys(stage for stage in left_out if stage))

    def has_stage(self, stage: str) -> bool:
        """Whether there is a cache of the stage, even if nothing is left of it: it is saved when the stage runs."""
        return any(stage_cache.stage in (stage, None) and not stage_cache.foreign for stage_cache in self.caches)

    def is_damaged(self, scope: Scope) -> bool:
        """Whether anything broken was left out, or a ref of this scope holds something else than a cache."""
        foreign = any(stage_cache.foreign and stage_cache.scope == scope for stage_cache in self.caches)
        return foreign or bool(self.healed)

    def blob_sizes(self) -> dict[str, int]:
        """Digest and size in bytes of every blob."""
        return {blob: size for stage_cache in self.caches for blob, size in stage_cache.cache.blob_sizes().items()}

    def merged(self, leaving_out: frozenset[str] = frozenset()) -> ManifestAndConfig | None:
        """One cache manifest of all of them but these stages' own; None where nothing is left."""
        joined = merge_caches(stage_cache.cache for stage_cache in self.caches if stage_cache.stage not in leaving_out)
        return serialize_cache(joined) if joined.records else None

    def within_size_limit(self) -> StageCaches:
        """The shelf without as many older generations, then farther scopes, as make it too large for BuildKit."""
        for generations in range(GENERATIONS, 0, -1):
            smaller = replace(
                self, caches=tuple(stage_cache for stage_cache in self.caches if stage_cache.generation < generations)
            )
            if smaller._fits():
                return self if len(smaller.caches) == len(self.caches) else smaller
        kept = [stage_cache for stage_cache in smaller.caches if stage_cache.scope == smaller.caches[0].scope]
        while kept and not replace(self, caches=tuple(kept))._fits():
            kept.remove(max(kept, key=lambda stage_cache: len(serialize_cache(stage_cache.cache).config)))
        return replace(self, caches=tuple(kept))

    def without_caches(self, warning: str) -> StageCaches:
        """Nothing to read, but still what was found broken."""
        broken = (replace(stage_cache, cache=CacheConfig()) for stage_cache in self.caches if not stage_cache.whole)
        return replace(self, caches=tuple(broken), merged_source=None, warnings=(*self.warnings, warning))

    def _fits(self) -> bool:
        document = self.merged()
        return document is None or not document.too_large


def read_caches(repository: CacheRepository, graph: StageGraph, access: Access) -> StageCaches:
    """What a build reads: of one that writes, the stage caches as far as BuildKit takes them; else a composed one."""
    if access.writes is None:
        return read_merged_cache(repository, access)
    stage_caches = read_stage_caches(repository, graph, access)
    fitting = stage_caches.within_size_limit()
    left = ", ".join(stage_cache.tag for stage_cache in stage_caches.caches if stage_cache not in fitting.caches)
    if not left:
        return stage_caches
    warning = f"together the caches exceed the 1 MiB that BuildKit reads; left out: {left}"
    return replace(fitting, warnings=(warning, *fitting.warnings))


def read_stage_caches(repository: CacheRepository, graph: StageGraph, access: Access) -> StageCaches:
    """The stage caches of all scopes that the build may read.

    Each blob is asked for before it is trusted. What is missing, short or not a cache is left out and named. A
    registry that cannot be reached is one warning.
    """
    wanted = {
        scope.stage_tag(stage, generation): StageCache(
            tag=scope.stage_tag(stage, generation), scope=scope, cache=CacheConfig(), stage=stage, generation=generation
        )
        for scope in access.reads
        for stage in (target.name for target in graph.buildable_stages)
        for generation in range(GENERATIONS)
    }
    warnings: list[str] = []
    manifests = repository.read_manifests(wanted)
    contents = _contents(repository, manifests, warnings)
    caches = tuple(
        _filled(replace(stage_cache, digest=_digest(manifests[tag])), contents[tag])
        for tag, stage_cache in wanted.items()
        if isinstance(contents.get(tag), _LASTING)
    )
    return _verified(
        repository, StageCaches(caches=caches, warnings=tuple(warnings), read_failure=_failure(manifests, contents))
    )


def read_merged_cache(repository: CacheRepository, access: Access) -> StageCaches:
    """The composed cache of the nearest scope that has a whole one, for a build that writes nothing."""
    warnings: list[str] = []
    manifests = repository.read_manifests(scope.merged_tag for scope in access.reads)
    contents = _contents(repository, manifests, warnings)
    for scope in access.reads:
        manifest = manifests[scope.merged_tag]
        content = contents.get(scope.merged_tag)
        if isinstance(content, CacheConfig) and isinstance(manifest, bytes):
            stage_cache = StageCache(tag=scope.merged_tag, scope=scope, cache=content)
            merged_source = repository.import_source(sha256_digest(manifest), scope.merged_tag)
            stage_caches = _verified(repository, StageCaches(caches=(stage_cache,), merged_source=merged_source))
            warnings += stage_caches.warnings
            if stage_caches.merged_source is not None:
                return replace(
                    stage_caches,
                    warnings=tuple(warnings),
                    read_failure=stage_caches.read_failure or _failure(manifests, contents),
                )
    return StageCaches(warnings=tuple(warnings), read_failure=_failure(manifests, contents))


def drop_broken_blobs(
    stage_caches: StageCaches, broken: frozenset[str], *, corrupt_blobs: frozenset[str]
) -> StageCaches:
    """The shelf without every result that stands on one of these blobs."""
    touched = {stage_cache.tag for stage_cache in stage_caches.caches if stage_cache.cache.blob_sizes().keys() & broken}
    if touched and stage_caches.merged_source is not None:
        gone = ", ".join(sorted(broken & stage_caches.blob_sizes().keys()))
        emptied = stage_caches.without_caches(
            f"{', '.join(sorted(touched))} is left out: broken in the registry: {gone}"
        )
        return replace(emptied, corrupt_blobs=stage_caches.corrupt_blobs | corrupt_blobs)
    caches = (
        replace(stage_cache, cache=drop_blobs(stage_cache.cache, broken), whole=False)
        if stage_cache.tag in touched
        else stage_cache
        for stage_cache in stage_caches.caches
    )
    return replace(stage_caches, caches=tuple(caches), corrupt_blobs=stage_caches.corrupt_blobs | corrupt_blobs)


def rotate_generations(
    repository: CacheRepository, stage_caches: StageCaches, scope: Scope, stage: str, layers: Set[str]
) -> None:
    """After a stage was saved: what it held before becomes the generation before, and so on.

    Not so where it holds the same `layers` as before, as when a stage is saved for its new keys alone: that would push
    an older result out. `shelf` is what was read before the save. Raises RegistryError.
    """
    own = {
        stage_cache.generation: stage_cache
        for stage_cache in stage_caches.caches
        if stage_cache.scope == scope and stage_cache.stage == stage
    }
    if 0 in own and own[0].cache.blob_sizes().keys() == layers:
        return
    for generation in range(GENERATIONS - 1):
        if generation in own and own[generation].cache.records:
            repository.push_manifest(serialize_cache(own[generation].cache), scope.stage_tag(stage, generation + 1))


def repair_refs(repository: CacheRepository, stage_caches: StageCaches, scope: Scope) -> None:
    """Writes the refs of this scope that hold something broken anew, without it. Raises RegistryError.

    Where nothing is left they take the stage's newest result, or hold none until the stage runs. What is no cache may
    be one when it is asked for again (a proxy's error page), so it gives way to a good result only.
    """
    own = [stage_cache for stage_cache in stage_caches.caches if stage_cache.scope == scope]
    newest = {stage_cache.stage: stage_cache.cache for stage_cache in reversed(own) if stage_cache.cache.records}
    for stage_cache in own:
        left = stage_cache.cache if stage_cache.cache.records else newest.get(stage_cache.stage, CacheConfig())
        if not stage_cache.whole and (left.records or not stage_cache.foreign):
            repository.push_manifest(serialize_cache(left), stage_cache.tag)


def image_layer_sizes(repository: CacheRepository, digest: str) -> dict[str, int]:
    """Digest and size in bytes of an image's layers, over all its platforms; empty where they cannot be read."""
    try:
        top = repository.read_manifest(digest) or b"{}"
        bodies = (top, *repository.read_manifests(image_manifests(top)).values())
        return {blob: size for body in bodies if isinstance(body, bytes) for blob, size in layer_sizes(body).items()}
    except (RegistryError, InvalidCache):
        return {}


def _filled(stage_cache: StageCache, content: CacheConfig | Exception | None) -> StageCache:
    """What a ref holds, once that is known."""
    return (
        replace(stage_cache, cache=content)
        if isinstance(content, CacheConfig)
        else replace(stage_cache, whole=False, foreign=True)
    )


def _contents(
    repository: CacheRepository, manifests: Answers, warnings: list[str]
) -> dict[str, CacheConfig | Exception]:
    """Tag to content, or to what is wrong with it, which `warnings` name; of the tags that are there."""
    if (failed := _all_failed(manifests)) is not None:
        warnings.append(f"no cache is read: {failed}")
        return {}
    there = {tag: answer for tag, answer in manifests.items() if answer is not None}
    named = {tag: _attempt(config_digest, answer) for tag, answer in there.items()}
    configs = repository.read_blobs(digest for digest in named.values() if isinstance(digest, str))
    contents: dict[str, CacheConfig | Exception] = {
        tag: _attempt(parse_cache, there[tag], _config(configs[digest])) if isinstance(digest, str) else digest
        for tag, digest in named.items()
    }
    warnings += _left_out({tag: content for tag, content in contents.items() if not isinstance(content, CacheConfig)})
    return contents


def _digest(manifest: bytes | RegistryError | None) -> str:
    return sha256_digest(manifest) if isinstance(manifest, bytes) else ""


def _all_failed(manifests: Answers) -> RegistryError | None:
    errors = [answer for answer in manifests.values() if isinstance(answer, RegistryError)]
    return errors[0] if errors and len(errors) == len(manifests) else None


def _failure(*answers: Mapping[str, object]) -> str:
    """What the first of the answers says that failed, and may be another when it is asked for again."""
    failed = (answer for each in answers for answer in each.values() if isinstance(answer, RegistryError))
    return next((str(answer) for answer in failed if not isinstance(answer, _LASTING)), "")


def _config(answer: bytes | RegistryError | None) -> bytes | Exception:
    return InvalidCache("its config is missing") if answer is None else answer


def _attempt(read: Callable[..., Made], *parts: bytes | Exception) -> Made | Exception:
    """What is read from the parts, or why it cannot be."""
    for part in parts:
        if isinstance(part, Exception):
            return part
    try:
        return read(*parts)
    except InvalidCache as error:
        return error


def _left_out(errors: Mapping[str, object]) -> Iterator[str]:
    """One warning for each thing that is wrong, however many tags it is wrong with."""
    for said in dict.fromkeys(map(str, errors.values())):
        tags = [tag for tag, error in errors.items() if str(error) == said]
        more = f" and {len(tags) - _NAMED} more" if len(tags) > _NAMED else ""
        yield f"{', '.join(tags[:_NAMED])}{more}: left out, {said}"


def _verified(repository: CacheRepository, stage_caches: StageCaches) -> StageCaches:
    """Leaves out what stands on a blob that the registry does not have, or has in another size.

    Where it does not say, the blob is taken for whole: what is not will be seen when it is pulled.
    """
    expected = stage_caches.blob_sizes()
    actual = repository.read_blob_sizes(expected)
    errors = [answer for answer in actual.values() if isinstance(answer, RegistryError)]
    if errors:
        warning = f"{len(errors)} of {len(actual)} blobs could not be looked at beforehand: {errors[0]}"
        unchecked_blobs = frozenset(blob for blob, answer in actual.items() if isinstance(answer, RegistryError))
        stage_caches = replace(
            stage_caches,
            warnings=(*stage_caches.warnings, warning),
            unchecked_blobs=unchecked_blobs,
            read_failure=str(errors[0]),
        )
    wrong = {blob: actual[blob] for blob, size in expected.items() if actual[blob] not in (size, SIZE_UNKNOWN)}
    broken = frozenset(blob for blob, answer in wrong.items() if not isinstance(answer, RegistryError))
    return drop_broken_blobs(
        stage_caches, broken, corrupt_blobs=frozenset(blob for blob in broken if actual[blob] is not None)
    )
