"""Read from the events of a build what it did with each stage. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from stagebake.build.events import StepRun, Trace, covered_seconds
from stagebake.dockerfile.stages import ForcedStages, Stage, StageGraph


@dataclass(frozen=True, kw_only=True)
class SavedCache:
    """A stage's cache after the build; `bytes` are those of its layers that were new to the registry.

    `digest` is that of its manifest, `evidence` what it holds, as `evidence.of` names it; empty where not seen.
    """

    ref: str
    saved: bool
    bytes: int
    digest: str | None = None
    evidence: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class CarriedMount:
    """A cache mount whose content was restored or saved: the bytes of its layer, None for what was not done."""

    id: str
    restored: int | None = None
    saved: int | None = None


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What became of a stage: `status` is restored, rebuilt or unused; `seconds` is the time its steps took."""

    name: str
    status: str
    seconds: float = 0.0
    steps: tuple[StepRun, ...] = ()
    cache: SavedCache | None = None


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """Build that shipped. `refs` are the names of the image. Times in seconds, sizes in bytes.

    `forced` are the stages that --no-cache forced, `uncached` those without a cache to restore, `healed` those of
    which a broken cache was left out.
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
    warnings: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        return self.refs[0]

    @property
    def saves(self) -> bool:
        """Whether the cache of any stage was saved."""
        return any(stage.cache and stage.cache.saved for stage in self.stages)


def stage_results(graph: StageGraph, trace: Trace) -> tuple[StageResult, ...]:
    """Return the result of every stage, in the Dockerfile's order."""
    ran = rebuilt_stages(graph, trace)
    needed = {stage.name for stage in graph.needed_stages()}
    steps = trace.steps_by_stage(graph)

    def result(stage: Stage) -> StageResult:
        if stage.name not in needed:
            return StageResult(name=stage.name, status="unused")
        own = steps[stage.name]
        return StageResult(
            name=stage.name,
            status="rebuilt" if stage.name in ran else "restored",
            seconds=covered_seconds(tuple(interval for step in own for interval in step.intervals)),
            steps=own,
        )

    return tuple(result(stage) for stage in graph.stages)


def rebuilt_stages(graph: StageGraph, trace: Trace) -> frozenset[str]:
    """The stages of which at least one step ran."""
    groups = trace.steps_by_stage(graph).items()
    return frozenset(
        name for name, steps in groups if any(step.ran and not _unkept(graph[name], step) for step in steps)
    )


def _unkept(stage: Stage, step: StepRun) -> bool:
    """Whether BuildKit runs a step each time: a WORKDIR on nothing at all. What follows it is restored all the same."""
    return step.number == 1 and step.name.startswith("WORKDIR ") and not stage.steps[0].sources


def rerun_stages(graph: StageGraph, trace: Trace) -> frozenset[str]:
    """The stages of which a step ran that may come out another each time.

    Not those that lay files down: COPY --link is laid down once more where its cache is saved, with the COPY and
    WORKDIR around it (BuildKit 0.25).
    """
    groups = trace.steps_by_stage(graph).items()
    laid = ("COPY ", "FROM ", "LINK ", "WORKDIR ")
    return frozenset(name for name, steps in groups if any(s.ran and not s.name.startswith(laid) for s in steps))


def forceable_steps(graph: StageGraph, trace: Trace, stages: frozenset[str]) -> tuple[StepRun, ...]:
    """The steps of these stages that `no-cache-filter` makes run.

    Not FROM, and not WORKDIR: that makes a folder on whatever lies below it, and BuildKit runs it when that is new
    (moby/buildkit, dockerfile2llb/convert.go, dispatchWorkdir).
    """
    groups = trace.steps_by_stage(graph)
    steps = (step for name in graph.names if name in stages for step in groups[name])
    return tuple(step for step in steps if not step.name.startswith(("FROM ", "WORKDIR ")))
