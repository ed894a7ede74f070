"""Read, check and repair the cache refs of one image. The repository is passed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import NamedTuple

from stagebake.cache.backends import SIZE_UNKNOWN, CacheRepository, ContentAnswers
from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import InvalidCache, config_digest, image_manifests, layer_sizes, sha256_digest
from stagebake.cache.scopes import GENERATIONS, Access, Scope
from stagebake.cache.stage_caches import CacheState, StageCache, StageCaches, drop_broken_blobs
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import CorruptBlob, RegistryError

# Number of tags that one warning names
_NAMED_TAGS = 4

# Answers that stay the same when the ref is read again: a cache, other content, or a config with wrong bytes
_LASTING = (CacheConfig, InvalidCache, CorruptBlob)

_Problem = InvalidCache | RegistryError
_Content = CacheConfig | _Problem


class _CacheManifest(NamedTuple):
    """Manifest of a cache, and the digest of its config."""

    manifest: bytes
    config_digest: str


def read_caches(repository: CacheRepository, graph: StageGraph, access: Access) -> StageCaches:
    """Read the caches of a build: the stage caches where it writes caches, else a merged cache.

    Stage caches that together exceed BuildKit's limit are dropped with a warning.
    """
    if access.writes is None:
        return read_merged_cache(repository, access)
    stage_caches = read_stage_caches(repository, graph, access)
    fitting = stage_caches.within_size_limit()
    dropped = [stage_cache.tag for stage_cache in stage_caches.caches if stage_cache not in fitting.caches]
    if not dropped:
        return stage_caches
    warning = f"together the caches exceed the 1 MiB that BuildKit reads; left out: {', '.join(dropped)}"
    return replace(fitting, warnings=(warning, *fitting.warnings))


def read_stage_caches(repository: CacheRepository, graph: StageGraph, access: Access) -> StageCaches:
    """Read the stage caches of all scopes that the build may read, and check their blobs.

    Results with a missing or short blob are dropped; a tag without a cache is a warning. An unreachable registry is
    one warning.
    """
    expected = _expected_caches(graph, access)
    warnings: list[str] = []
    manifests = repository.read_manifests(expected)
    contents = _read_contents(repository, manifests, warnings)
    caches: list[StageCache] = []
    for tag, stage_cache in expected.items():
        content = contents.get(tag)
        if not isinstance(content, _LASTING):
            continue
        digest = _manifest_digest(manifests[tag])
        if isinstance(content, CacheConfig):
            caches.append(replace(stage_cache, digest=digest, cache=content))
        else:
            caches.append(replace(stage_cache, digest=digest, state=CacheState.NOT_A_CACHE))
    stage_caches = StageCaches(
        caches=tuple(caches),
        warnings=tuple(warnings),
        read_failure=_first_failure(manifests, contents),
    )
    return _check_blobs(repository, stage_caches)


def read_merged_cache(repository: CacheRepository, access: Access) -> StageCaches:
    """Read the merged cache of the nearest scope that has an intact one."""
    warnings: list[str] = []
    manifests = repository.read_manifests(scope.merged_tag for scope in access.reads)
    contents = _read_contents(repository, manifests, warnings)
    failure = _first_failure(manifests, contents)
    for scope in access.reads:
        content = contents.get(scope.merged_tag)
        if not isinstance(content, CacheConfig):
            continue
        digest = _manifest_digest(manifests[scope.merged_tag])
        merged_cache = StageCache(tag=scope.merged_tag, scope=scope, cache=content)
        unchecked = StageCaches(
            caches=(merged_cache,),
            merged_source=repository.import_source(digest, scope.merged_tag),
        )
        checked = _check_blobs(repository, unchecked)
        warnings += checked.warnings
        if checked.merged_source is not None:
            return replace(
                checked,
                warnings=tuple(warnings),
                read_failure=checked.read_failure or failure,
            )
    return StageCaches(warnings=tuple(warnings), read_failure=failure)


def rotate_generations(
    repository: CacheRepository,
    stage_caches: StageCaches,
    scope: Scope,
    stage: str,
    layers: Set[str],
) -> None:
    """After a save of the stage, move its previous caches to the next older generations. Raises RegistryError.

    `stage_caches` was read before the save; `layers` are the digests of the saved layers. Nothing moves where the
    previous cache had the same layers: a save for new keys alone would otherwise push out an older result.
    """
    own: dict[int, CacheConfig] = {}
    for stage_cache in stage_caches.caches:
        if stage_cache.scope == scope and stage_cache.stage == stage:
            own[stage_cache.generation] = stage_cache.cache
    if 0 in own and own[0].blob_sizes().keys() == layers:
        return
    for generation in range(GENERATIONS - 1):
        if generation in own and own[generation].records:
            document = serialize_cache(own[generation])
            repository.push_manifest(document, scope.stage_tag(stage, generation + 1))


def repair_refs(repository: CacheRepository, stage_caches: StageCaches, scope: Scope) -> None:
    """Overwrite the broken refs of this scope with what is left of them. Raises RegistryError.

    A ref without a remaining result gets the stage's newest result, or an empty cache until the stage runs. A response
    that is not a cache may be temporary (a proxy error page): overwrite it only with a valid result.
    """
    own = [stage_cache for stage_cache in stage_caches.caches if stage_cache.scope == scope]
    newest: dict[str | None, CacheConfig] = {}
    for stage_cache in own:
        if stage_cache.cache.records:
            newest.setdefault(stage_cache.stage, stage_cache.cache)
    for stage_cache in own:
        if stage_cache.state is CacheState.INTACT:
            continue
        remaining = stage_cache.cache
        if not remaining.records:
            remaining = newest.get(stage_cache.stage, CacheConfig())
        if remaining.records or stage_cache.state is not CacheState.NOT_A_CACHE:
            repository.push_manifest(serialize_cache(remaining), stage_cache.tag)


def image_layer_sizes(repository: CacheRepository, digest: str) -> dict[str, int]:
    """Return digest and size in bytes of an image's layers on all platforms; empty where they cannot be read."""
    try:
        top = repository.read_manifest(digest) or b"{}"
        sizes = layer_sizes(top)
        for manifest in repository.read_manifests(image_manifests(top)).values():
            if isinstance(manifest, bytes):
                sizes.update(layer_sizes(manifest))
    except (RegistryError, InvalidCache):
        return {}
    return sizes


def _expected_caches(graph: StageGraph, access: Access) -> dict[str, StageCache]:
    """Return an empty StageCache for every tag that may hold a cache of this build, nearest scope first."""
    expected: dict[str, StageCache] = {}
    for scope in access.reads:
        for stage in graph.buildable_stages:
            for generation in range(GENERATIONS):
                tag = scope.stage_tag(stage.name, generation)
                expected[tag] = StageCache(
                    tag=tag,
                    scope=scope,
                    cache=CacheConfig(),
                    stage=stage.name,
                    generation=generation,
                )
    return expected


def _read_contents(
    repository: CacheRepository,
    manifests: ContentAnswers,
    warnings: list[str],
) -> dict[str, _Content]:
    """Return, for each existing tag, its cache or the reason why it has none; add a warning for each reason."""
    errors = [answer for answer in manifests.values() if isinstance(answer, RegistryError)]
    if errors and len(errors) == len(manifests):
        warnings.append(f"no cache is read: {errors[0]}")
        return {}
    cache_manifests: dict[str, _CacheManifest] = {}
    problems: dict[str, _Problem] = {}
    for tag, answer in manifests.items():
        if answer is not None:
            parsed = _parse_manifest(answer)
            if isinstance(parsed, _CacheManifest):
                cache_manifests[tag] = parsed
            else:
                problems[tag] = parsed
    configs = repository.read_blobs(entry.config_digest for entry in cache_manifests.values())
    caches: dict[str, CacheConfig] = {}
    for tag, (manifest, digest) in cache_manifests.items():
        content = _parse_content(manifest, configs[digest])
        if isinstance(content, CacheConfig):
            caches[tag] = content
        else:
            problems[tag] = content
    warnings += _problem_warnings(problems)
    return {**caches, **problems}


def _parse_manifest(answer: bytes | RegistryError) -> _CacheManifest | _Problem:
    if isinstance(answer, RegistryError):
        return answer
    try:
        return _CacheManifest(answer, config_digest(answer))
    except InvalidCache as error:
        return error


def _parse_content(manifest: bytes, config: bytes | RegistryError | None) -> _Content:
    if config is None:
        return InvalidCache("its config is missing")
    if isinstance(config, RegistryError):
        return config
    try:
        return parse_cache(manifest, config)
    except InvalidCache as error:
        return error


def _problem_warnings(problems: Mapping[str, Exception]) -> Iterator[str]:
    """Yield one warning for each distinct problem, however many tags have it."""
    tags_by_problem: dict[str, list[str]] = {}
    for tag, problem in problems.items():
        tags_by_problem.setdefault(str(problem), []).append(tag)
    for problem_text, tags in tags_by_problem.items():
        named = ", ".join(tags[:_NAMED_TAGS])
        unnamed = len(tags) - _NAMED_TAGS
        more = f" and {unnamed} more" if unnamed > 0 else ""
        yield f"{named}{more}: left out, {problem_text}"


def _manifest_digest(manifest: bytes | RegistryError | None) -> str:
    return sha256_digest(manifest) if isinstance(manifest, bytes) else ""


def _first_failure(*answers: Mapping[str, object]) -> str:
    """Return the first error that may be gone when the ref is read again; "" without one."""
    for answers_by_tag in answers:
        for answer in answers_by_tag.values():
            if isinstance(answer, RegistryError) and not isinstance(answer, _LASTING):
                return str(answer)
    return ""


def _check_blobs(repository: CacheRepository, stage_caches: StageCaches) -> StageCaches:
    """Drop results with a blob that the registry lacks or stores in another size.

    A blob of unknown size counts as intact: the pull fails if it is not. Blobs that cannot be checked are a warning.
    """
    expected_sizes = stage_caches.blob_sizes()
    actual_sizes = repository.read_blob_sizes(expected_sizes)
    missing: set[str] = set()
    corrupt: set[str] = set()
    unchecked: dict[str, RegistryError] = {}
    for blob, expected_size in expected_sizes.items():
        actual_size = actual_sizes[blob]
        if isinstance(actual_size, RegistryError):
            unchecked[blob] = actual_size
        elif actual_size is None:
            missing.add(blob)
        elif actual_size not in (expected_size, SIZE_UNKNOWN):
            corrupt.add(blob)
    if unchecked:
        stage_caches = _add_unchecked(stage_caches, unchecked, total=len(expected_sizes))
    broken = frozenset(missing | corrupt)
    return drop_broken_blobs(stage_caches, broken, corrupt_blobs=frozenset(corrupt))


def _add_unchecked(
    stage_caches: StageCaches,
    errors: Mapping[str, RegistryError],
    total: int,
) -> StageCaches:
    first_error = next(iter(errors.values()))
    warning = f"{len(errors)} of {total} blobs could not be checked: {first_error}"
    return replace(
        stage_caches,
        warnings=(*stage_caches.warnings, warning),
        unchecked_blobs=frozenset(errors),
        read_failure=str(first_error),
    )
