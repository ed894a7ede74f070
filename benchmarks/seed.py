"""Compare the usual GitHub workflow with stagebake on a five-stage image, each build on an empty engine.

The usual workflow is docker/build-push-action with `cache-from: type=registry,ref=IMAGE:latest` and
`cache-to: type=inline`. This runs `docker buildx build` as the action does, except for an output that leaves restored
layers in the registry, as the builder of the action does. The stages have a hundredth of the size of a CUDA image with
PyTorch and Next.js, and take a hundredth of the time. Prints a Markdown table: what ran, the seconds until the image
was pushed, and the bytes that passed a proxy in front of the registry. `nox -s bench -- seed` runs it; it takes about
five minutes, as root.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.servers import start_servers
from stagebake.build.result import rebuilt_stages
from stagebake.buildkit.events import Trace
from stagebake.dockerfile.stages import parse_dockerfile
from tests.support.project import Project


def heavy_step(name: str, megabytes: int, seconds: float) -> str:
    """Return a step that takes this long and writes this many new megabytes, which cannot be compressed."""
    return f"RUN sleep {seconds} && head -c {megabytes}000000 /dev/urandom > /{name}"


DOCKERFILE = f"""\
FROM busybox:1 AS base
{heavy_step("base", 30, 1.8)}
WORKDIR /app

FROM base AS python-deps
COPY requirements.txt .
{heavy_step("python-deps", 20, 7.5)}

FROM base AS node-deps
COPY package.json .
{heavy_step("node-deps", 5, 2.4)}

FROM node-deps AS builder
COPY src src
{heavy_step("builder", 2, 1.5)}

FROM base AS runtime
COPY --from=python-deps /python-deps /
COPY --from=builder /builder /
{heavy_step("runtime", 1, 0.6)}
"""
PUSHES = {
    "first push": {"src/page.tsx": "1\n", "package.json": "{}\n", "requirements.txt": "torch\n"},
    "nothing changed": {},
    "code: a React component": {"src/page.tsx": "2\n"},
    "npm: one more package": {"package.json": '{"dependencies": {}}\n'},
    "Python: other requirements": {"requirements.txt": "torch==2.3.0\n"},
}


Build = Callable[[Project], tuple[tuple[str, ...], int, float]]
"""Build and push; return the stages and the number of steps that ran, and the seconds until the image was pushed."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """Measured push: stages and number of steps that ran, seconds until the image was pushed, and bytes."""

    stages: tuple[str, ...]
    steps: int
    seconds: float
    pulled: int
    pushed: int

    def render_cells(self) -> list[str]:
        stages = ", ".join(self.stages) or "nothing"
        return [
            f"{stages} ({self.steps})",
            f"{self.seconds:.1f} s",
            f"{self.pulled / 1e6:.1f} MB",
            f"{self.pushed / 1e6:.1f} MB",
        ]


def main() -> int:
    """Run each push once with either workflow, and print a row for it."""
    print(
        "| before the push | inline: ran (steps) | time | pulled | pushed | stagebake: ran | time | pulled | pushed |"
    )
    print("|---|---|---:|---:|---:|---|---:|---:|---:|", flush=True)
    with open_projects() as (usual, ours):
        for name, files in PUSHES.items():
            inline = measure_push(usual, files, build_inline)
            stagebake = measure_push(ours, files, build_stagebake)
            cells = [name, *inline.render_cells(), *stagebake.render_cells()]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


def measure_push(project: Project, files: dict[str, str], build: Build) -> Push:
    """Write the files and build on an empty engine."""
    project.write(files)
    project.engine.empty()
    with project.registry.proxy.watched() as seen:
        stages, steps, seconds = build(project)
    return Push(
        stages=stages,
        steps=steps,
        seconds=seconds,
        pulled=sum(exchange.sent for exchange in seen if exchange.method == "GET"),
        pushed=sum(exchange.received for exchange in seen),
    )


def build_inline(project: Project) -> tuple[tuple[str, ...], int, float]:
    """Build as the usual workflow does. It saves the inline cache with the image, so the time includes the cache."""
    started = time.monotonic()
    latest = f"{project.image}:latest"
    stages, steps = plain_build(project, DOCKERFILE, [latest], "--cache-to=type=inline")
    return stages, steps, time.monotonic() - started


def plain_build(project: Project, dockerfile: str, caches: Iterable[str], *flags: str) -> tuple[tuple[str, ...], int]:
    """Run `docker buildx build` with these caches; return the stages and the number of steps that ran."""
    answer = project.engine.run(
        *("docker", "buildx", "build", "--progress=rawjson", "--target=runtime", f"--tag={project.image}:latest"),
        "--output=type=image,push=true,store=false,unpack=false",
        *(f"--cache-from=type=registry,ref={ref}" for ref in caches),
        f"--build-context=busybox:1={project.contexts['busybox:1']}",
        *("--network=none", "--provenance=false", *flags, "."),
        folder=project.folder,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    graph, trace = parse_dockerfile(dockerfile), Trace()
    for line in answer.stderr.splitlines():
        trace.feed_line(line)
    steps = trace.steps_by_stage(graph)
    rebuilt = rebuilt_stages(graph, trace)
    stages = tuple(name for name in graph.names if name in rebuilt)
    count = 0
    for stage_steps in steps.values():
        count += sum(step.ran for step in stage_steps)
    return stages, count


def build_stagebake(project: Project) -> tuple[tuple[str, ...], int, float]:
    """Build as the workflow of stagebake does. It saves the caches after the image, so the time is without them."""
    report = project.build("--push").report
    ran: list[str] = []
    steps = 0
    for stage in report["stages"]:
        steps += sum(not step["cached"] for step in stage["steps"])
        if stage["status"] == "rebuilt":
            ran.append(stage["name"])
    return tuple(ran), steps, report["seconds"]["ship"]


@contextmanager
def open_projects() -> Iterator[tuple[Project, Project]]:
    """Yield two repositories with the same Dockerfile, on one engine and one empty registry."""
    with start_servers() as servers:
        registry = servers.start_registry(servers.folder)
        projects: list[Project] = []
        for name in ("usual", "ours"):
            folder = servers.folder / name / "project"
            project = Project(folder=folder, name=name, engine=servers.engine, registry=registry)
            project.write({"Dockerfile": DOCKERFILE, ".dockerignore": "stagebake.toml\n"})
            project.git("init", "--quiet", "--initial-branch=main")
            project.settings()
            projects.append(project)
        yield projects[0], projects[1]


if __name__ == "__main__":
    sys.exit(main())
