"""Save the caches of the stages that ran, one bake call each, then merge what the registry holds.

The first error of the registry ends it with one warning: the image is out, and the next build saves the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stagebake.build.failures import summarize_failure
from stagebake.build.result import SavedCache, rerun_stages
from stagebake.buildkit.engine import BakeResult, BuildEngine
from stagebake.buildkit.events import ProgressListener, Trace
from stagebake.buildkit.stall_timer import StallTimer
from stagebake.cache.backends import BACKENDS, CacheRepository
from stagebake.cache.cache_refs import image_layer_sizes, read_stage_caches, repair_refs, rotate_generations
from stagebake.cache.evidence import collect_evidence
from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, config_digest, layer_sizes, sha256_digest
from stagebake.cache.scopes import Access, Scope
from stagebake.cache.stage_caches import StageCaches, drop_broken_blobs
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import RegistryError
from stagebake.generate.bake_file import BakeOptions
from stagebake.project.settings import Settings

BakeFunction = Callable[[str, BakeOptions, StallTimer], tuple[BakeResult, Trace]]
"""Run one bake call of a build: what it does, in words for the user, its options and its timer."""


@dataclass(kw_only=True)
class CacheSaver:
    """Save the caches of one build in the refs of `scope`.

    `stage_caches` are the caches that the build read, `imported` is what its bake call imported, and `is_forced` tells
    that it ran stages although these caches had them. `images` is the repository of the pushed image. `saved` holds a
    result for each stage that was to be saved.
    """

    graph: StageGraph
    settings: Settings
    access: Access
    scope: Scope
    repository: CacheRepository
    images: CacheRepository | None
    stage_caches: StageCaches
    imported: str | None
    is_forced: bool
    engine: BuildEngine
    run_bake: BakeFunction
    progress: ProgressListener
    warnings: list[str]
    saved: dict[str, SavedCache] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known_blobs = self.stage_caches.blob_sizes()

    def save_caches(self, rebuilt: frozenset[str], image_digest: str | None) -> dict[str, SavedCache]:
        """Save the caches that are missing after a build in which these stages ran; return the result of each."""
        stages = self._find_unsaved(rebuilt, image_digest)
        if not (stages or self._must_merge()) or not self._can_export():
            return {}
        self.progress("saving the caches", Trace())
        try:
            other_caches = self._push_other_caches(rebuilt) if stages else None
            for stage in stages:
                self.saved[stage] = self._save_stage(stage, other_caches)
            merged = self._merge_again()
            self._add_evidence(merged)
        except RegistryError as error:
            self._warn_unsaved(stages, error)
        return self.saved

    def _find_unsaved(self, rebuilt: frozenset[str], image_digest: str | None) -> list[str]:
        """Return the stages whose results are in no cache, each after the stages that it depends on.

        These are the stages that ran and their dependents: a dependent that was restored because its inputs came out
        the same has new cache keys now. Without these the next build would download the inputs to compare them.
        """
        needed = [stage.name for stage in self.graph.needed_stages() if stage in self.graph.buildable_stages]
        if image_digest and not rebuilt and self._image_has_unknown_layers(image_digest):
            return needed
        changed = self.graph.with_dependents(rebuilt)
        return [name for name in needed if name in changed or not self.stage_caches.has_stage(name)]

    def _image_has_unknown_layers(self, image_digest: str) -> bool:
        """Tell whether the engine still had results of an earlier build that was not pushed.

        Their layers are in the image and in no cache. With corrupt blobs the image is recompressed, and its layers
        tell nothing.
        """
        if self.images is None or self.stage_caches.corrupt_blobs:
            return False
        layers = image_layer_sizes(self.images, image_digest)
        return not layers.keys() <= self._known_blobs.keys()

    def _must_merge(self) -> bool:
        """Tell whether the merged cache, which others read, differs from what the stage caches give now."""
        if self.stage_caches.is_damaged(self.scope):
            return True
        document = self.stage_caches.merge_stages()
        if document is None or self.stage_caches.read_failure:
            return False
        try:
            stored = self.repository.read_manifest(self.scope.merged_tag)
            return stored is None or config_digest(stored) != sha256_digest(document.config)
        except RegistryError:
            return False
        except InvalidCache:
            return True

    def _can_export(self) -> bool:
        if self.engine.exports_caches:
            return True
        self.warnings.append(
            "caches not saved: the `docker` driver cannot export caches without the containerd image store; "
            "enable it: https://docs.docker.com/engine/storage/containerd/"
        )
        return False

    def _push_other_caches(self, rebuilt: frozenset[str]) -> str | None:
        """Push what the saves import: no cache of a rebuilt stage, or the old result of a forced one would return."""
        return push_merged_cache(self.repository, self.stage_caches.merge_stages(leaving_out=rebuilt))

    def _save_stage(self, stage: str, other_caches: str | None) -> SavedCache:
        """Save the cache of a stage in its ref. Raise RegistryError where the call fails."""
        trace = self._export_cache(stage, other_caches)
        tag = self.scope.stage_tag(stage)
        layers = self._read_layers(tag)
        new_layers = dict(layers.items() - self._known_blobs.items())
        self._known_blobs |= new_layers
        rotate_generations(self.repository, self.stage_caches, self.scope, stage, layers.keys())
        return SavedCache(
            ref=f"{self.repository.image}:{tag}",
            saved=True,
            bytes=sum(new_layers.values()),
            digest=trace.exported,
            new_layers=new_layers,
        )

    def _export_cache(self, stage: str, other_caches: str | None) -> Trace:
        """Run the bake call that writes the cache of a stage. Raise RegistryError where it fails."""
        shares_layers = self._shares_layers(stage)
        bake_options = BakeOptions(
            stage=stage,
            output="type=cacheonly",
            cache=self.imported if shares_layers else other_caches,
            save=True,
            recompress=bool(self.stage_caches.corrupt_blobs),
            image_layers=shares_layers,
        )
        stall_timer = StallTimer(self.settings.patience)
        bake_result, trace = self.run_bake(f"saving {stage}", bake_options, stall_timer)
        if bake_result.exit_code != 0:
            summary = summarize_failure(trace, stall_timer.stall)
            raise RegistryError(summary, "the next build saves it")
        rerun = rerun_stages(self.graph, trace)
        if rerun:
            names = ", ".join(sorted(rerun))
            self.warnings.append(f"saving {stage} ran {names} again; the saved cache differs from the pushed image")
        return trace

    def _shares_layers(self, stage: str) -> bool:
        """Tell whether the cache of a stage is saved from the layers of the image alone.

        The call imports what the build of the image imported. BuildKit then takes the results that it restored without
        downloading them, where it would otherwise copy the files of each COPY --link again and upload them. Not in a
        forced build: the old results would return. Not where a stage has no name: its only cache is that of the final
        stage, and the image does not have its layers.
        """
        buildable = self.graph.buildable_stages
        return (
            stage == self.graph.final.name
            and not self.is_forced
            and BACKENDS[self.settings.cache].compresses
            and all(needed in buildable for needed in self.graph.needed_stages())
        )

    def _read_layers(self, tag: str) -> dict[str, int]:
        """Return digest and size in bytes of the layers under a tag; empty where they cannot be read."""
        try:
            return layer_sizes(self.repository.read_manifest(tag) or b"{}")
        except (RegistryError, InvalidCache):
            return {}

    def _merge_again(self) -> StageCaches:
        """Merge what is in the registry now, and repair refs with broken content. Raise RegistryError."""
        self.progress("saving the merged cache", Trace())
        stored = read_stage_caches(self.repository, self.graph, self.access)
        self.warnings += stored.warnings
        corrupt_blobs = self.stage_caches.corrupt_blobs
        broken = corrupt_blobs & stored.blob_sizes().keys()
        intact = drop_broken_blobs(stored, broken, corrupt_blobs=corrupt_blobs)
        push_merged_cache(self.repository, intact.within_size_limit().merge_stages(), self.scope.merged_tag)
        repair_refs(self.repository, intact, self.scope)
        self.repository.remove_unused_blobs()
        return intact

    def _add_evidence(self, stored: StageCaches) -> None:
        """Note what the saved caches contain, as read back from the registry."""
        contents = {stage_cache.digest: stage_cache.cache for stage_cache in stored.caches}
        for stage, entry in self.saved.items():
            if entry.digest in contents:
                content = contents[entry.digest]
                self.saved[stage] = replace(entry, evidence=collect_evidence(content), content=content)

    def _warn_unsaved(self, stages: list[str], error: RegistryError) -> None:
        unsaved = [stage for stage in stages if stage not in self.saved]
        names = ", ".join(unsaved)
        if unsaved:
            self.warnings.append(f"the cache of {names} is not saved: {error}")
        else:
            self.warnings.append(f"stage caches saved; merged cache not saved: {error}")
        for stage in unsaved:
            tag = self.scope.stage_tag(stage)
            self.saved[stage] = SavedCache(ref=f"{self.repository.image}:{tag}", saved=False, bytes=0)


def push_merged_cache(
    repository: CacheRepository, document: ManifestAndConfig | None, tag: str | None = None
) -> str | None:
    """Push a merged cache; return the value that imports it, None without a document. Raise RegistryError."""
    if document is None:
        return None
    digest = repository.push_manifest(document, tag)
    return repository.import_source(digest, tag)
