"""Read from the events of a build what it did with each stage. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stagebake.buildkit.events import StepRun, Trace, covered_seconds
from stagebake.buildkit.versions import Versions
from stagebake.cache.cache_config import CacheConfig
from stagebake.dockerfile.stages import ForcedStages, Stage, StageGraph

_COPY_STEPS = ("COPY ", "FROM ", "LINK ", "WORKDIR ")
_UNFORCED_STEPS = ("FROM ", "WORKDIR ")


@dataclass(frozen=True, kw_only=True)
class SavedCache:
    """Cache of a stage after the build. `bytes` counts the layers that were new to the registry.

    `digest` is that of the manifest, `new_layers` are those layers with their bytes. `content` and `evidence` are what
    the cache contains; None and empty where it was not read back.
    """

    ref: str
    saved: bool
    bytes: int
    digest: str | None = None
    evidence: frozenset[str] = frozenset()
    new_layers: Mapping[str, int] = field(default_factory=dict)
    content: CacheConfig | None = None


@dataclass(frozen=True, kw_only=True)
class CarriedMount:
    """Cache mount whose content was restored or saved, each with the bytes of its layer, else None."""

    id: str
    restored: int | None = None
    saved: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What a step cost: compressed bytes that BuildKit pulled and unpacked because it ran, bytes that it made, seconds.

    `line` is in the Dockerfile; it is None, and `name` "", where the step is not known. `pull_seconds` are those of
    pulling and unpacking, `run_seconds` those of the step itself, `push_seconds` its share of exporting the image.
    """

    name: str
    line: int | None
    pulled: int = 0
    unpacked: int = 0
    pushed: int = 0
    pull_seconds: float = 0.0
    run_seconds: float = 0.0
    push_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Return the seconds of all that the step cost."""
        return self.pull_seconds + self.run_seconds + self.push_seconds


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """Result of a stage: `status` is restored, rebuilt or unused, `seconds` the time that its steps took.

    `costs` are those of its steps that ran or moved bytes.
    """

    name: str
    status: str
    seconds: float = 0.0
    steps: tuple[StepRun, ...] = ()
    cache: SavedCache | None = None
    costs: tuple[StepCost, ...] = ()

    @property
    def pulled(self) -> int:
        """Return the bytes that were pulled because steps of this stage ran."""
        return sum(step.pulled for step in self.costs)

    @property
    def unpacked(self) -> int:
        """Return the bytes of the pulled layers that were unpacked."""
        return sum(step.unpacked for step in self.costs)

    @property
    def pushed(self) -> int:
        """Return the bytes of the stage's layers that were new to the registry."""
        return sum(step.pushed for step in self.costs)


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """Build that shipped. `refs` are the names of the image. Times in seconds, sizes in bytes.

    `forced` are the stages that --no-cache forced, `uncached` those without a cache to restore, `healed` those of
    which a broken cache was left out. `versions` are those of the BuildKit and the buildx that built.
    """

    stages: tuple[StageResult, ...]
    refs: tuple[str, ...]
    pushed_image: bool
    digest: str | None
    ship_seconds: float
    save_seconds: float
    pulled: int
    pushed: int
    forced: ForcedStages = field(default_factory=ForcedStages)
    uncached: frozenset[str] = frozenset()
    healed: tuple[str, ...] = ()
    mounts: tuple[CarriedMount, ...] = ()
    versions: Versions = field(default_factory=Versions)
    warnings: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        """Return the first name of the image."""
        return self.refs[0]

    @property
    def has_saved_caches(self) -> bool:
        """Tell whether the cache of any stage was saved."""
        return any(stage.cache and stage.cache.saved for stage in self.stages)


def stage_results(graph: StageGraph, trace: Trace) -> tuple[StageResult, ...]:
    """Return the result of every stage, in the Dockerfile's order."""
    rebuilt = rebuilt_stages(graph, trace)
    needed = {stage.name for stage in graph.needed_stages()}
    results = []
    for name, steps in trace.steps_by_stage(graph).items():
        if name not in needed:
            results.append(StageResult(name=name, status="unused"))
            continue
        status = "rebuilt" if name in rebuilt else "restored"
        intervals = [interval for step in steps for interval in step.intervals]
        results.append(StageResult(name=name, status=status, seconds=covered_seconds(intervals), steps=steps))
    return tuple(results)


def rebuilt_stages(graph: StageGraph, trace: Trace) -> frozenset[str]:
    """Return the stages of which at least one step ran."""
    rebuilt = set()
    for name, steps in trace.steps_by_stage(graph).items():
        for step in steps:
            if step.ran and not _always_runs(graph[name], step):
                rebuilt.add(name)
    return frozenset(rebuilt)


def rerun_stages(graph: StageGraph, trace: Trace) -> frozenset[str]:
    """Return the stages of which a step ran that may give another result each time.

    Steps that only copy files do not count: saving a stage repeats its COPY --link, with the COPY and WORKDIR around
    it (BuildKit 0.25).
    """
    rerun = set()
    for name, steps in trace.steps_by_stage(graph).items():
        for step in steps:
            if step.ran and not step.name.startswith(_COPY_STEPS):
                rerun.add(name)
    return frozenset(rerun)


def forceable_steps(graph: StageGraph, trace: Trace, stages: frozenset[str]) -> tuple[StepRun, ...]:
    """Return the steps of these stages that `no-cache-filter` forces to run.

    It forces neither FROM nor WORKDIR: a WORKDIR creates a folder on the result before it, and BuildKit runs it when
    that result is new (moby/buildkit, dockerfile2llb/convert.go, dispatchWorkdir).
    """
    found = []
    for name, steps in trace.steps_by_stage(graph).items():
        if name in stages:
            found += [step for step in steps if not step.name.startswith(_UNFORCED_STEPS)]
    return tuple(found)


def _always_runs(stage: Stage, step: StepRun) -> bool:
    """Tell whether BuildKit runs a step each time: a WORKDIR on scratch. The steps after it are still restored."""
    return step.number == 1 and step.name.startswith("WORKDIR ") and stage.base is None
