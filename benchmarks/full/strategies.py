"""Build and push with each kind of cache, as its users do."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.full.scenarios import Scenario
from stagebake.buildkit.event_fields import timestamp_seconds
from stagebake.buildkit.events import Trace
from stagebake.dockerfile.stages import parse_dockerfile
from tests.support.project import Project

# The output of docker/build-push-action's builder: restored layers are left in the registry
_OUTPUT = "--output=type=image,push=true,store=false,unpack=false"


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """Push that ended: seconds to the image in the registry and to the end, and the steps that ran in each stage."""

    image_seconds: float
    seconds: float
    steps: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Kind of cache: the flags of `docker buildx build`, in which IMAGE is the image's repository, and variables."""

    title: str
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    uses_service: bool = False

    def push_image(self, project: Project, scenario: Scenario, environment: Mapping[str, str]) -> Pushed:
        """Run `docker buildx build` with the cache. Raise RuntimeError where it fails."""
        flags = [flag.replace("IMAGE", project.image) for flag in self.flags]
        flags += [f"--build-context={name}={value}" for name, value in project.contexts.items()]
        if scenario.forced and "--no-cache" not in flags:
            flags.append(f"--no-cache-filter={','.join(scenario.forced)}")
        started = time.time()
        answer = project.engine.run(
            *("docker", "buildx", "build", "--progress=rawjson", "--target=runtime", f"--tag={project.image}:latest"),
            *(_OUTPUT, "--network=none", "--provenance=false", *flags, "."),
            folder=project.folder,
            **environment,
        )
        ended = time.time()
        if answer.returncode:
            raise RuntimeError(answer.stderr[-4000:])
        lines = answer.stderr.splitlines()
        dockerfile = (project.folder / "Dockerfile").read_text(encoding="utf-8")
        return Pushed(
            image_seconds=_find_image_end(lines) - started,
            seconds=ended - started,
            steps=_count_steps(lines, dockerfile),
        )


@dataclass(frozen=True, kw_only=True)
class StagebakeStrategy(Strategy):
    """stagebake, as the generated workflow runs it."""

    def push_image(self, project: Project, scenario: Scenario, environment: Mapping[str, str]) -> Pushed:
        """Run `stagebake build --push`. Raise RuntimeError where it fails."""
        forced = ("--no-cache", scenario.forced[0]) if scenario.forced else ()
        started = time.time()
        outcome = project.stagebake("build", "--push", *forced, **environment)
        seconds = time.time() - started
        if outcome.exit_code:
            raise RuntimeError(outcome.stdout[-2000:] + outcome.stderr[-2000:])
        steps = {}
        for stage in outcome.report["stages"]:
            steps[stage["name"]] = sum(not step["cached"] for step in stage["steps"])
        return Pushed(
            image_seconds=seconds - outcome.report["seconds"]["save"],
            seconds=seconds,
            steps=steps,
        )


STRATEGIES: Mapping[str, Strategy] = {
    "none": Strategy(title="no cache", flags=("--no-cache",)),
    "inline": Strategy(
        title="`type=inline`",
        flags=("--cache-from=type=registry,ref=IMAGE:latest", "--cache-to=type=inline"),
    ),
    "max": Strategy(
        title="one `mode=max` ref",
        flags=(
            "--cache-from=type=registry,ref=IMAGE:buildcache",
            "--cache-to=type=registry,ref=IMAGE:buildcache,mode=max,image-manifest=true,oci-mediatypes=true",
        ),
    ),
    "gha": Strategy(
        title="`type=gha`",
        flags=("--cache-from=type=gha", "--cache-to=type=gha,mode=max"),
        uses_service=True,
    ),
    "stagebake": StagebakeStrategy(title="stagebake"),
    "zstd": StagebakeStrategy(title="stagebake, zstd", environment={"STAGEBAKE_COMPRESSION": "zstd"}),
}
# Those that a run has without a choice
COMPARED = ("none", "inline", "max", "gha", "stagebake")


def _count_steps(lines: list[str], dockerfile: str) -> dict[str, int]:
    """Return how many steps of each stage ran."""
    trace = Trace()
    for line in lines:
        trace.feed_line(line)
    by_stage = trace.steps_by_stage(parse_dockerfile(dockerfile))
    return {stage: sum(step.ran for step in steps) for stage, steps in by_stage.items()}


def _find_image_end(lines: list[str]) -> float:
    """Return the time at which the image was in the registry, in seconds since 1970."""
    end = 0.0
    for line in lines:
        if line.startswith("{"):
            for vertex in json.loads(line).get("vertexes") or ():
                if vertex["name"] == "exporting to image" and "completed" in vertex:
                    end = max(end, timestamp_seconds(vertex["completed"]))
    return end
