"""The caches of one image in its registry: which refs there are, which can be trusted, and what they make together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from stagebake import compose
from stagebake.compose import Cache, Document
from stagebake.dockerfile import StageGraph
from stagebake.errors import RegistryError
from stagebake.scopes import Access, Scope

# Size of a blob that the registry has without saying how large it is
UNTOLD = -1


class Repository(Protocol):
    """What this module asks of a registry; `registry.Registry` is one."""

    image: str

    def manifest(self, reference: str) -> bytes | None: ...

    def manifests(self, references: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...

    def blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...

    def sizes(self, digests: Iterable[str]) -> dict[str, int | RegistryError | None]: ...

    def put(self, document: Document, tag: str | None = None) -> str: ...


@dataclass(frozen=True, kw_only=True)
class StageCache:
    """What one ref holds; `stage` is None for a composed one."""

    stage: str | None
    scope: Scope
    tag: str
    cache: Cache


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The caches that a build may read, nearest scope first, and what was wrong with the others.

    `published` is the ref of a composed cache that is read as it lies in the registry.
    """

    caches: tuple[StageCache, ...] = ()
    published: str | None = None
    healed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def composed(self, leaving_out: frozenset[str] = frozenset()) -> Document | None:
        """All of them as one cache manifest, without these stages' own refs; None where nothing is left."""
        joined = compose.join(found.cache for found in self.caches if found.stage not in leaving_out)
        return compose.write(joined) if joined.records else None

    def has(self, stage: str) -> bool:
        return any(found.stage in (stage, None) for found in self.caches)

    def blobs(self) -> dict[str, int]:
        """Digest and size in bytes of every blob."""
        return {blob: size for found in self.caches for blob, size in found.cache.blobs().items()}


def read_stages(repository: Repository, graph: StageGraph, access: Access) -> Shelf:
    """Reads the stage caches of all scopes that the build may read.

    Each blob is asked for before it is trusted. What is missing, short or not a cache is left out and named.
    A registry that cannot be reached is one warning.
    """
    wanted = {scope.stage_tag(stage): (scope, stage) for scope in access.reads for stage in graph.names}
    manifests = repository.manifests(wanted)
    if manifests and all(isinstance(answer, RegistryError) for answer in manifests.values()):
        error = next(iter(manifests.values()))
        return Shelf(warnings=(f"no cache is read: {error}",))
    warnings: list[str] = []
    bodies = _bodies(manifests, warnings)
    configs = repository.blobs(digest for _, digest in bodies.values())
    found = []
    for tag, (manifest, digest) in bodies.items():
        scope, stage = wanted[tag]
        cache = _cache(tag, manifest, configs[digest], warnings)
        if cache is not None:
            found.append(StageCache(stage=stage, scope=scope, tag=tag, cache=cache))
    return _verified(repository, Shelf(caches=tuple(found), warnings=tuple(warnings)))


def read_composed(repository: Repository, access: Access) -> Shelf:
    """The composed cache of the nearest scope that has a whole one, for a build that writes nothing."""
    warnings: list[str] = []
    answers = repository.manifests(scope.composed_tag for scope in access.reads)
    bodies = _bodies(answers, warnings)
    for scope in access.reads:
        if scope.composed_tag in bodies:
            manifest, digest = bodies[scope.composed_tag]
            config = repository.blobs([digest])[digest]
            content = _cache(scope.composed_tag, manifest, config, warnings)
            if content is not None:
                found = StageCache(stage=None, scope=scope, tag=scope.composed_tag, cache=content)
                shelf = _verified(repository, Shelf(caches=(found,), published=_pinned(repository, manifest)))
                if shelf.published is not None:
                    return replace(shelf, warnings=tuple(warnings))
                warnings.append(f"cache {scope.composed_tag} is left out: it names blobs that are gone")
    return Shelf(warnings=tuple(warnings))


def image_blobs(repository: Repository, digest: str) -> dict[str, int]:
    """Digest and size in bytes of an image's layers, over all its platforms; empty where they cannot be read."""
    try:
        top = repository.manifest(digest) or b"{}"
        below = repository.manifests(compose.manifests_of(top)).values()
    except RegistryError:
        return {}
    return {
        blob: size
        for body in (top, *below)
        if isinstance(body, bytes)
        for blob, size in compose.layers_of(body).items()
    }


def _pinned(repository: Repository, manifest: bytes) -> str:
    return f"{repository.image}@{compose.digest_of(manifest)}"


def _bodies(manifests: Mapping[str, bytes | RegistryError | None], warnings: list[str]) -> dict[str, tuple[bytes, str]]:
    """Tag to manifest and its config's digest, for those that are a cache."""
    bodies = {}
    for tag, answer in manifests.items():
        if isinstance(answer, RegistryError):
            warnings.append(f"cache {tag} is not read: {answer}")
        elif answer is not None:
            try:
                bodies[tag] = answer, compose.config_digest(answer)
            except compose.InvalidCache as error:
                warnings.append(f"cache {tag} is left out: {error}")
    return bodies


def _cache(tag: str, manifest: bytes, config: bytes | RegistryError | None, warnings: list[str]) -> Cache | None:
    if not isinstance(config, bytes):
        warnings.append(f"cache {tag} is left out: {'its config is missing' if config is None else config}")
        return None
    try:
        return compose.read(manifest, config)
    except compose.InvalidCache as error:
        warnings.append(f"cache {tag} is left out: {error}")
        return None


def _verified(repository: Repository, shelf: Shelf) -> Shelf:
    """Leaves out what stands on a blob that the registry does not have, or has in another size."""
    expected = shelf.blobs()
    actual = repository.sizes(expected)
    return without_blobs(shelf, frozenset(b for b, size in expected.items() if actual[b] not in (size, UNTOLD)))


def without_blobs(shelf: Shelf, broken: frozenset[str]) -> Shelf:
    """The shelf without every result that stands on one of these blobs; the stages that held one are named."""
    touched = [found for found in shelf.caches if found.cache.blobs().keys() & broken]
    if touched and shelf.published is not None:
        return Shelf(warnings=shelf.warnings)
    return replace(
        shelf,
        caches=tuple(replace(found, cache=compose.without_blobs(found.cache, broken)) for found in shelf.caches),
        healed=tuple(dict.fromkeys([*shelf.healed, *(found.stage for found in touched if found.stage)])),
    )
