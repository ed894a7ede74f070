"""Build an image: merge the stage caches, ship the image, save the caches of the stages that ran."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from stagebake.build.cache_saver import CacheSaver, push_merged_cache
from stagebake.build.failures import (
    PUSH_PAUSES,
    BakeFailure,
    FailureContext,
    FailureKind,
    Retry,
    RetryState,
    choose_retry,
    classify_failure,
    format_failure,
)
from stagebake.build.mount_sync import MountSync
from stagebake.build.result import BuildResult, SavedCache, forceable_steps, rebuilt_stages, stage_results
from stagebake.build.step_costs import add_step_costs
from stagebake.buildkit.engine import BakeCall, BakeResult, BuildEngine
from stagebake.buildkit.events import ProgressListener, Trace
from stagebake.buildkit.limits import StepSize, parse_step_sizes
from stagebake.buildkit.stall_timer import StallTimer
from stagebake.cache.cache_refs import image_layer_sizes, read_caches
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.cache.stage_caches import StageCaches, drop_broken_blobs
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
from stagebake.naming.image_tags import ImageNames
from stagebake.project.settings import Settings
from stagebake.stores.choose import BuildStores

# A pushed image is not stored in the engine, so that BuildKit never downloads restored layers
_PUSH_OUTPUT = "type=image,push=true,store=false,unpack=false"
_LOAD_OUTPUT = "type=docker"
_CACHE_OUTPUT = "type=cacheonly"

# Seconds before a cache that could not be imported or read is requested again
_CACHE_PAUSE = 2.0


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """Choices for one build.

    `dockerfile_text` is the Dockerfile as the build reads it, `names` are the image's refs and labels, `override` is
    the text of the user's own bake file, which bake merges over the generated one. `load` tells whether an image that
    is not pushed is loaded into the engine.
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
    """Build the final stage; where it is pushed, save the caches of the stages that ran.

    Raise BuildFailed or InputError when the build itself fails. A cache that cannot be read or saved is a warning.
    """
    run = _Run(graph=graph, settings=settings, request=request, engine=engine, stores=stores, progress=progress)
    started = time.monotonic()
    image = run.ship_image(run.read_caches())
    shipped = time.monotonic()
    stages = stage_results(graph, image.trace)
    saved = run.save_caches(image)
    run.mount_sync.save_mounts(image.trace)
    stages = tuple(replace(stage, cache=saved.get(stage.name)) for stage in stages)
    return BuildResult(
        stages=add_step_costs(graph, image.trace, stages, run.count_other_bytes(image, saved)),
        refs=request.names.refs,
        pushed_image=request.push,
        digest=image.digest,
        ship_seconds=shipped - started,
        save_seconds=time.monotonic() - shipped,
        pulled=image.trace.pulled,
        pushed=sum(entry.bytes for entry in saved.values()),
        forced=request.forced,
        uncached=frozenset(name for name in graph.names if not image.stage_caches.has_stage(name)),
        healed=image.stage_caches.healed_stages,
        mounts=run.mount_sync.carried_mounts,
        warnings=tuple(dict.fromkeys((*image.stage_caches.warnings, *run.warnings))),
    )


@dataclass(frozen=True, kw_only=True)
class _ShippedImage:
    """Image that was built, the events of its build, and the caches that it was built with.

    `bake_options` are those of the bake call that succeeded.
    """

    digest: str | None
    trace: Trace
    stage_caches: StageCaches
    bake_options: BakeOptions


@dataclass(kw_only=True)
class _Run:
    """State of one build: its inputs, the failures so far, and the warnings so far."""

    graph: StageGraph
    settings: Settings
    request: BuildRequest
    engine: BuildEngine
    stores: BuildStores
    progress: ProgressListener
    warnings: list[str] = field(default_factory=list)
    retries: RetryState = field(default_factory=RetryState)

    @cached_property
    def mount_sync(self) -> MountSync:
        return MountSync(
            graph=self.graph,
            settings=self.settings,
            dockerfile_text=self.request.dockerfile_text,
            access=self.request.access,
            forced=self.request.forced,
            files=self._bake_files(),
            engine=self.engine,
            repository=self.stores.images,
            progress=self.progress,
            warnings=self.warnings,
        )

    def read_caches(self) -> StageCaches:
        """Return the caches that this build may read."""
        if self.stores.caches is None:
            reason = self.stores.missing_reason
            return StageCaches(warnings=(reason,) if reason else ())
        self.progress("reading the caches", Trace())
        return read_caches(self.stores.caches, self.graph, self.request.access)

    def ship_image(self, stage_caches: StageCaches) -> _ShippedImage:
        """Build the final stage, again after each failure that another attempt may avoid.

        What ran in one attempt is cached by the engine in the next one, and still counts as run.
        """
        trace = Trace()
        while True:
            strict = bool(stage_caches.caches) and not self.retries.paused
            stall_timer = StallTimer(self.settings.patience, strict=strict, suspect=self.retries.stalled)
            bake_options = self._final_options(stage_caches)
            bake_result, trace = self._build_final(bake_options, stall_timer, trace)
            if bake_result.exit_code == 0:
                break
            cached_blobs = stage_caches.blob_sizes().keys()
            failure = classify_failure(self.graph, trace, stall_timer.stall, cached_blobs)
            stage_caches = self._handle_failure(failure, stage_caches, trace)
        self._add_warnings(trace)
        self._refuse_restored(trace)
        return _ShippedImage(
            digest=bake_result.digest, trace=trace, stage_caches=stage_caches, bake_options=bake_options
        )

    def _handle_failure(self, failure: BakeFailure, stage_caches: StageCaches, trace: Trace) -> StageCaches:
        """Prepare the next attempt and return the caches for it. Raise a failure that is final."""
        all_stages = frozenset(self.graph.names)
        verdict = choose_retry(failure, self.retries, all_stages)
        match verdict:
            case Retry.RAISE:
                raise format_failure(failure, self._describe_context(failure, trace))
            case Retry.PAUSE:
                time.sleep(_CACHE_PAUSE)
            case Retry.PUSH_LATER:
                time.sleep(PUSH_PAUSES[self.retries.pushes])
            case Retry.DROP_BLOBS:
                stage_caches = drop_broken_blobs(stage_caches, failure.blobs, corrupt_blobs=failure.blobs)
            case Retry.NO_CACHE:
                stage_caches = stage_caches.without_caches(f"built without any cache: {failure.summary}")
            case Retry.FORCE_STAGE | Retry.FORCE_ALL:
                pass  # the next attempt forces the stages that `retries` names then
        self.retries = self.retries.count_failure(failure, verdict, all_stages)
        return stage_caches

    def _describe_context(self, failure: BakeFailure, trace: Trace) -> FailureContext:
        step_sizes: tuple[StepSize, ...] = ()
        if failure.kind is FailureKind.LAYER_REFUSED:
            step_sizes = parse_step_sizes(self.engine.list_results(), trace.step_runs())
        return FailureContext(
            graph=self.graph,
            refs=self.request.names.refs,
            patience=self.settings.patience,
            step_sizes=step_sizes,
        )

    def _build_final(
        self, bake_options: BakeOptions, stall_timer: StallTimer, trace: Trace
    ) -> tuple[BakeResult, Trace]:
        """Build the final stage. Interrupt it to restore cache mounts that it needs, then continue."""
        self.mount_sync.imported_cache = bake_options.cache
        while True:
            bake_result, trace = self._run_bake("building", bake_options, stall_timer, trace, self.mount_sync)
            if bake_result.exit_code == 0 or not self.mount_sync.is_due:
                return bake_result, trace
            trace = self.mount_sync.restore_mounts(trace)

    def _final_options(self, stage_caches: StageCaches) -> BakeOptions:
        output = _CACHE_OUTPUT
        if self.request.push:
            output = _PUSH_OUTPUT
        elif self.request.load:
            output = _LOAD_OUTPUT
        return BakeOptions(
            stage=self.graph.final.name,
            output=output,
            cache=self._import_source(stage_caches),
            forced=self.graph.force_stages((*self.request.forced.named, *self.retries.forced)),
            names=self.request.names,
            recompress=self.request.push and bool(stage_caches.corrupt_blobs),
        )

    def _import_source(self, stage_caches: StageCaches) -> str | None:
        """Return what imports the caches: the merged cache in the registry, or a new one that is pushed for this."""
        if stage_caches.merged_source is not None or self.request.access.writes is None:
            return stage_caches.merged_source
        if self.stores.caches is None:
            return None
        try:
            return push_merged_cache(self.stores.caches, stage_caches.merge_stages())
        except RegistryError as error:
            self.warnings.append(f"no cache is read: the merged cache could not be pushed: {error}")
            return None

    def _add_warnings(self, trace: Trace) -> None:
        self.warnings += [f"a cache was not read: {error}" for error in trace.import_errors()]
        forced = [name for name in self.graph.names if name in self.retries.forced]
        if forced:
            reason = "a cancelled build had left the engine without a step's result"
            self.warnings.append(f"rebuilt {', '.join(forced)}: {reason}")

    def _refuse_restored(self, trace: Trace) -> None:
        """Raise BuildFailed where a step of a forced stage came from a cache: the image would hold an old result."""
        for step in forceable_steps(self.graph, trace, self.request.forced.with_dependents):
            if step.cached:
                stage = step.stage or self.graph.final.name  # BuildKit names no stage where there is only one
                raise BuildFailed(
                    f"stage {stage} was forced, but `{step.name}` was taken from a cache",
                    "force all stages: --no-cache without names; and please report this",
                )

    def save_caches(self, image: _ShippedImage) -> dict[str, SavedCache]:
        """Save the caches of the stages that ran; return the result of each stage."""
        scope = self.request.access.writes
        if scope is None or self.stores.caches is None:
            return {}
        saver = CacheSaver(
            graph=self.graph,
            settings=self.settings,
            access=self.request.access,
            scope=scope,
            repository=self.stores.caches,
            images=self.stores.images,
            stage_caches=image.stage_caches,
            imported=image.bake_options.cache,
            is_forced=bool(image.bake_options.forced.with_dependents),
            engine=self.engine,
            run_bake=self._run_bake,
            progress=self.progress,
            warnings=self.warnings,
        )
        return saver.save_caches(rebuilt_stages(self.graph, image.trace), image.digest)

    def count_other_bytes(self, image: _ShippedImage, saved: Mapping[str, SavedCache]) -> int:
        """Return the bytes of the pushed image's layers that no cache had before the build or has after it."""
        if not self.request.push or image.digest is None or self.stores.images is None:
            return 0
        if not rebuilt_stages(self.graph, image.trace):
            return 0
        known = set(image.stage_caches.blob_sizes())
        for entry in saved.values():
            known |= entry.new_layers.keys()
        sizes = image_layer_sizes(self.stores.images, image.digest)
        return sum(size for digest, size in sizes.items() if digest not in known)

    def _bake_files(self) -> dict[str, str]:
        """Return the generated bake file, and the user's own after it."""
        files = {BAKE_FILE: render_bake_file(self.graph, self.settings)}
        if self.request.override is not None:
            files[OVERRIDE_FILE] = self.request.override
        return files

    def _run_bake(
        self,
        doing: str,
        bake_options: BakeOptions,
        stall_timer: StallTimer,
        before: Trace | None = None,
        mount_sync: MountSync | None = None,
    ) -> tuple[BakeResult, Trace]:
        """Run one bake call. `before` is the trace of the attempt before, `mount_sync` may interrupt the call."""
        trace = Trace(before)

        def observe_line(line: str) -> None:
            trace.feed_line(line)
            stall_timer.observe_trace(trace)
            if mount_sync:
                mount_sync.observe_trace(trace)
            self.progress(doing, trace)

        def must_stop() -> bool:
            return stall_timer.is_overdue() or (mount_sync is not None and mount_sync.is_due)

        call_file = render_call_file(self.graph, self.settings, bake_options)
        scope = self.request.access.writes or DEFAULT_SCOPE
        call = BakeCall(
            target=target_names(self.graph)[bake_options.stage],
            files={**self._bake_files(), "choices.json": call_file},
            variables=bake_variables(self.settings, bake_options, scope),
            allow=bake_permissions(self.settings, self.request.override),
        )
        return self.engine.run_bake(call, observe_line, must_stop), trace
