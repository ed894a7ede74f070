"""One build: compose the caches, ship the image, save what ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import stamina

from stagebake.build.engine import BakeCall, BakeResult, BuildEngine
from stagebake.build.events import Trace
from stagebake.build.failures import (
    explain_failure,
    failure_summary,
    find_cache_fault,
    lost_result_stage,
    stalled_build,
    too_many_requests,
)
from stagebake.build.mount_sync import MountSync
from stagebake.build.result import BuildResult, SavedCache, forceable_steps, rebuilt_stages, rerun_stages, stage_results
from stagebake.build.stall_timer import StallTimer
from stagebake.cache.cache_refs import (
    image_layer_sizes,
    read_caches,
    read_stage_caches,
    repair_refs,
    rotate_generations,
)
from stagebake.cache.evidence import collect_evidence
from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, config_digest, layer_sizes, sha256_digest
from stagebake.cache.repository import CacheRepository
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope
from stagebake.cache.stage_caches import StageCache, StageCaches, drop_broken_blobs
from stagebake.dockerfile.stages import ForcedStages, StageGraph
from stagebake.errors import BuildFailed, RegistryError
from stagebake.generate.bake_file import (
    BAKE_FILE,
    OVERRIDE_FILE,
    BakeOptions,
    bake_permissions,
    bake_variables,
    render_bake_file,
    render_call_file,
    target_names,
)
from stagebake.project.image_tags import ImageNames
from stagebake.project.settings import Settings
from stagebake.stores.choose import BuildStores

# An image that is pushed passes the local store by: what is restored is then never downloaded
_PUSH = "type=image,push=true,store=false,unpack=false"
_LOAD = "type=docker"
_NOTHING = "type=cacheonly"

# How often a build is tried at most; the last time without any cache
_ATTEMPTS = 5
# What could not be read, but may be there, is asked for once more after so many seconds
_PAUSE = 2.0
# How often a registry that takes no image for the moment (429) is offered it
_OFFERS = 4


class _Later(Exception):
    """The registry wants the image later."""


ProgressListener = Callable[[str, Trace], None]
"""Told what is under way and what is known of it, at every event."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What is asked of one build.

    `dockerfile_text` is the Dockerfile as the build reads it, `names` are the image's refs and labels, `override` is
    the text of the user's own bake file, which is laid over the generated one. `load` is whether an image that is not
    pushed goes into the engine.
    """

    access: Access
    names: ImageNames
    dockerfile_text: str
    push: bool = False
    load: bool = True
    forced: ForcedStages = field(default_factory=ForcedStages)
    override: str | None = None


def build_image(
    graph: StageGraph,
    settings: Settings,
    request: BuildRequest,
    engine: BuildEngine,
    stores: BuildStores,
    progress: ProgressListener,
) -> BuildResult:
    """Builds the final stage; where it is pushed, saves the caches of the stages that ran.

    Raises BuildFailed when the build itself fails. A cache that cannot be read or saved is a warning, never a failure.
    """
    run = _Run(graph=graph, settings=settings, request=request, engine=engine, stores=stores, progress=progress)
    started = time.monotonic()
    stage_caches, bake_result, trace = run.ship(run.read())
    shipped = time.monotonic()
    stages = stage_results(graph, trace)
    saved = run.save(stage_caches, rebuilt_stages(graph, trace), bake_result.digest)
    run.mount_sync.save(trace)
    return BuildResult(
        stages=tuple(replace(stage, cache=saved.get(stage.name)) for stage in stages),
        refs=request.names.refs,
        pushed_image=request.push,
        digest=bake_result.digest,
        ship_seconds=shipped - started,
        save_seconds=time.monotonic() - shipped,
        pulled=trace.pulled,
        pushed=sum(entry.bytes for entry in saved.values()),
        forced=request.forced,
        uncached=frozenset(name for name in graph.names if not stage_caches.has_stage(name)),
        healed=stage_caches.healed_stages,
        mounts=run.mount_sync.carried_mounts,
        warnings=tuple(dict.fromkeys((*stage_caches.warnings, *run.warnings))),
    )


@dataclass(kw_only=True)
class _Run:
    """One build under way: what it was given, and the warnings so far."""

    graph: StageGraph
    settings: Settings
    request: BuildRequest
    engine: BuildEngine
    stores: BuildStores
    progress: ProgressListener
    warnings: list[str] = field(default_factory=list)
    lost: frozenset[str] = frozenset()
    """The stages that are built anew, because the engine has lost a step's result."""

    @cached_property
    def mount_sync(self) -> MountSync:
        """What carries the cache mounts."""
        return MountSync(
            graph=self.graph,
            settings=self.settings,
            dockerfile_text=self.request.dockerfile_text,
            access=self.request.access,
            forced=self.request.forced,
            files=self._files(),
            engine=self.engine,
            repository=self.stores.images,
            progress=self.progress,
            warnings=self.warnings,
        )

    @property
    def repository(self) -> CacheRepository | None:
        """Where the caches lie."""
        return self.stores.caches

    def read(self) -> StageCaches:
        """The caches that this build may read."""
        if self.repository is None:
            return StageCaches(warnings=(self.stores.missing_reason,) if self.stores.missing_reason else ())
        self.progress("reading the caches", Trace())
        return read_caches(self.repository, self.graph, self.request.access)

    def ship(self, stage_caches: StageCaches) -> tuple[StageCaches, BakeResult, Trace]:
        """Builds the final stage; returns the caches that served.

        What ran in an attempt is known to the engine in the next one, and still counts as run.
        """
        trace = Trace()
        for attempt in stamina.retry_context(
            on=_Later, attempts=_OFFERS, timeout=None, wait_initial=1.0, wait_max=10.0
        ):
            with attempt:
                stage_caches, bake_result, trace = self._attempt(stage_caches, trace)
                if too_many_requests(trace) and attempt.num < _OFFERS:
                    raise _Later
        if bake_result.exit_code != 0:
            raise explain_failure(self.graph, trace)
        self.warnings += [f"a cache was not read: {error}" for error in trace.import_errors()]
        if anew := [name for name in self.graph.names if name in self.lost]:
            why = "a build that was cancelled had left the engine without a step's result"
            self.warnings.append(f"built anew: {', '.join(anew)}: {why}")
        self._prove_forced(trace)
        return stage_caches, bake_result, trace

    def _attempt(self, stage_caches: StageCaches, trace: Trace) -> tuple[StageCaches, BakeResult, Trace]:
        """Builds; what proves broken is left out and tried again, in the end without any cache."""
        asked_again = stalled = False
        for number in range(_ATTEMPTS):
            stall_timer = StallTimer(
                self.settings.patience, strict=bool(stage_caches.caches) and not asked_again, suspect=stalled
            )
            bake_result, trace = self._build_final(self._final(stage_caches), stall_timer, trace)
            if bake_result.exit_code != 0 and self._add_lost(trace):
                continue
            fault = (
                None
                if bake_result.exit_code == 0
                else find_cache_fault(trace, stall_timer.gave_up, stage_caches.blob_sizes().keys())
            )
            if fault is None and bake_result.exit_code != 0 and stall_timer.gave_up and stall_timer.gave_up != "import":
                raise stalled_build(self.request.names.refs, stall_timer.gave_up, self.settings.patience)
            if fault is None:
                break
            stalled = stall_timer.gave_up == "read"
            if fault.passing and not asked_again:
                asked_again = True
                time.sleep(_PAUSE)
            elif fault.blobs and number < _ATTEMPTS - 2:
                stage_caches = drop_broken_blobs(stage_caches, fault.blobs, corrupt_blobs=fault.blobs)
            else:
                stage_caches = stage_caches.without_caches(
                    f"built without any cache: {failure_summary(trace, stall_timer.gave_up)}"
                )
        return stage_caches, bake_result, trace

    def _add_lost(self, trace: Trace) -> bool:
        """Adds the stage that met a lost result, then every stage, to what is built anew; whether it added any."""
        stage, every = lost_result_stage(self.graph, trace), frozenset(self.graph.names)
        if stage is None or self.lost == every:
            return False
        self.lost = every if stage.name in self.lost else self.lost | {stage.name}
        return True

    def _build_final(
        self, bake_options: BakeOptions, stall_timer: StallTimer, trace: Trace
    ) -> tuple[BakeResult, Trace]:
        """Builds the final stage; broken off for cache mounts, it goes on when they are restored."""
        self.mount_sync.cache = bake_options.cache
        bake_result, trace = self._bake("building", bake_options, stall_timer, trace, self.mount_sync)
        while bake_result.exit_code != 0 and self.mount_sync.is_due:
            trace = self.mount_sync.restore(trace)
            bake_result, trace = self._bake("building", bake_options, stall_timer, trace, self.mount_sync)
        return bake_result, trace

    def save(self, stage_caches: StageCaches, ran: frozenset[str], digest: str | None) -> dict[str, SavedCache]:
        """Saves the caches of the stages that ran, one bake call each, then composes anew.

        Their old caches are not imported meanwhile, or a forced stage's old result might be saved again. With the
        first thing that the registry refuses it ends: one warning, and the next build saves what is not.
        """
        scope = self.request.access.writes
        stages = self._unsaved(stage_caches, ran, digest)
        if scope is None or self.repository is None:
            return {}
        due = stages or stage_caches.is_damaged(scope) or self._outdated(self.repository, stage_caches, scope)
        if not due or not self._can_export():
            return {}
        self.progress("saving the caches", Trace())
        saved: dict[str, SavedCache] = {}
        found: tuple[StageCache, ...] = ()
        try:
            base = self._put(self.repository, stage_caches.merge_stages(leaving_out=ran))
            known = stage_caches.blob_sizes()
            for stage in stages:
                saved[stage] = self._save_stage(self.repository, stage, scope, base, stage_caches, known)
            found = self._compose_anew(self.repository, scope, stage_caches.corrupt_blobs).caches
        except RegistryError as error:
            left = [stage for stage in stages if stage not in saved]
            what = (
                f"the cache of {', '.join(left)} is" if left else "the caches are saved, but what they make together is"
            )
            self.warnings.append(f"{what} not saved: {error}")
            refs = {stage: f"{self.repository.image}:{scope.stage_tag(stage)}" for stage in left}
            saved |= {stage: SavedCache(ref=ref, saved=False, bytes=0) for stage, ref in refs.items()}
        contents = {stage_cache.digest: stage_cache.cache for stage_cache in found}
        return {
            stage: replace(entry, evidence=collect_evidence(contents[entry.digest]))
            if entry.digest in contents
            else entry
            for stage, entry in saved.items()
        }

    def _outdated(self, repository: CacheRepository, stage_caches: StageCaches, scope: Scope) -> bool:
        """Whether the composed cache under its tag, which others read, is not what the caches make together now."""
        document = stage_caches.merge_stages()
        if document is None or stage_caches.read_failure:
            return False
        try:
            merged_source = repository.read_manifest(scope.merged_tag)
            return merged_source is None or config_digest(merged_source) != sha256_digest(document.config)
        except RegistryError:
            return False
        except InvalidCache:
            return True

    def _compose_anew(self, repository: CacheRepository, scope: Scope, corrupt_blobs: frozenset[str]) -> StageCaches:
        """Composes what is in the registry now, and writes what is broken there without it. Raises RegistryError."""
        self.progress("saving the composed cache", Trace())
        stage_caches = read_stage_caches(repository, self.graph, self.request.access)
        self.warnings += stage_caches.warnings
        stage_caches = drop_broken_blobs(
            stage_caches, corrupt_blobs & stage_caches.blob_sizes().keys(), corrupt_blobs=corrupt_blobs
        )
        self._put(repository, stage_caches.within_size_limit().merge_stages(), scope.merged_tag)
        repair_refs(repository, stage_caches, scope)
        repository.remove_unused_blobs()
        return stage_caches

    def _unsaved(self, stage_caches: StageCaches, ran: frozenset[str], digest: str | None) -> list[str]:
        """The stages whose results the caches lack, in the order in which they depend on each other.

        These are the ones that ran, and what depends on them: one that was restored because its inputs came out the
        same is now known by their new keys too, and without these the next build would download the inputs to see it.
        And the ones that the engine still knew of an earlier build that was not pushed: their layers are in the image
        and in no cache. Where something is poisoned the image is recompressed, and its layers do not tell.
        """
        needed = [stage.name for stage in self.graph.needed_stages() if stage in self.graph.buildable_stages]
        if self.request.access.writes is None or self.repository is None:
            return []
        if digest and not ran and not stage_caches.corrupt_blobs and self.stores.images:
            layers = image_layer_sizes(self.stores.images, digest)
            if not layers.keys() <= stage_caches.blob_sizes().keys():
                return needed
        changed = self.graph.with_dependents(ran)
        return [name for name in needed if name in changed or not stage_caches.has_stage(name)]

    def _save_stage(
        self,
        repository: CacheRepository,
        stage: str,
        scope: Scope,
        base: str | None,
        stage_caches: StageCaches,
        known: dict[str, int],
    ) -> SavedCache:
        """Saves a stage's cache; its layers are `known` from then on. Raises RegistryError."""
        bake_options = BakeOptions(
            stage=stage, output=_NOTHING, cache=base, save=True, recompress=bool(stage_caches.corrupt_blobs)
        )
        stall_timer = StallTimer(self.settings.patience)
        bake_result, trace = self._bake(f"saving {stage}", bake_options, stall_timer)
        if bake_result.exit_code != 0:
            raise RegistryError(failure_summary(trace, stall_timer.gave_up), "the next build saves it")
        if again := rerun_stages(self.graph, trace):
            self.warnings.append(f"saving {stage} ran {', '.join(sorted(again))} again; its cache is not of the image")
        tag = scope.stage_tag(stage)
        layers = _layers(repository, tag)
        fresh = layers.items() - known.items()
        known.update(fresh)
        rotate_generations(repository, stage_caches, scope, stage, layers.keys())
        new = sum(size for _, size in fresh)
        return SavedCache(ref=f"{repository.image}:{tag}", saved=True, bytes=new, digest=trace.exported)

    def _cache_ref(self, stage_caches: StageCaches) -> str | None:
        """The ref of the one cache that the build reads."""
        if stage_caches.merged_source is not None or self.request.access.writes is None:
            return stage_caches.merged_source
        try:
            return self._put(self.repository, stage_caches.merge_stages()) if self.repository else None
        except RegistryError as error:
            self.warnings.append(f"no cache is read, since what they make together could not be pushed: {error}")
            return None

    def _put(
        self, repository: CacheRepository, document: ManifestAndConfig | None, tag: str | None = None
    ) -> str | None:
        """Pushes a composed cache; returns what names it, None where there is none. Raises RegistryError."""
        return repository.import_source(repository.push_manifest(document, tag), tag) if document else None

    def _final(self, stage_caches: StageCaches) -> BakeOptions:
        return BakeOptions(
            stage=self.graph.final.name,
            output=_PUSH if self.request.push else _LOAD if self.request.load else _NOTHING,
            cache=self._cache_ref(stage_caches),
            forced=self.graph.force_stages((*self.request.forced.named, *self.lost)),
            names=self.request.names,
            recompress=self.request.push and bool(stage_caches.corrupt_blobs),
        )

    def _files(self) -> dict[str, str]:
        """The generated bake file, and the user's own over it."""
        files = {BAKE_FILE: render_bake_file(self.graph, self.settings)}
        return files if self.request.override is None else {**files, OVERRIDE_FILE: self.request.override}

    def _bake(
        self,
        doing: str,
        bake_options: BakeOptions,
        stall_timer: StallTimer,
        before: Trace | None = None,
        mount_sync: MountSync | None = None,
    ) -> tuple[BakeResult, Trace]:
        trace = Trace(before)

        def listen(line: str) -> None:
            trace.feed_line(line)
            stall_timer.observe_trace(trace)
            if mount_sync:
                mount_sync.observe_trace(trace)
            self.progress(doing, trace)

        call = BakeCall(
            target=target_names(self.graph)[bake_options.stage],
            files={**self._files(), "choices.json": render_call_file(self.graph, self.settings, bake_options)},
            variables=bake_variables(self.settings, bake_options, self.request.access.writes or DEFAULT_SCOPE),
            allow=bake_permissions(self.settings),
        )
        return self.engine.bake(
            call, listen, lambda: stall_timer.overdue() or bool(mount_sync and mount_sync.is_due)
        ), trace

    def _can_export(self) -> bool:
        if not self.engine.exports_caches:
            self.warnings.append(
                "caches are not saved: the `docker` driver exports none without the containerd image store; "
                "turn it on: https://docs.docker.com/engine/storage/containerd/"
            )
        return self.engine.exports_caches

    def _prove_forced(self, trace: Trace) -> None:
        """No step of a forced stage may have come from a cache: then something old was shipped."""
        for step in forceable_steps(self.graph, trace, self.request.forced.with_dependents):
            if step.cached:
                raise BuildFailed(
                    f"stage {step.stage} was forced, but `{step.name}` was taken from a cache",
                    "force all stages: --no-cache without names; and please report this",
                )


def _layers(repository: CacheRepository, tag: str) -> dict[str, int]:
    """Digest and size in bytes of the layers under a tag; empty where they cannot be read."""
    try:
        return layer_sizes(repository.read_manifest(tag) or b"{}")
    except (RegistryError, InvalidCache):
        return {}
