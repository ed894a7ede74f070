"""The usual GitHub workflow and this one, side by side on a five-stage image, each build on an emptied engine.

The usual one is docker/build-push-action with `cache-from: type=registry,ref=IMAGE:latest` and `cache-to: type=inline`.
Its `docker buildx build` is run here as the action runs it, but for an output that leaves restored layers in the
registry, as the action's own builder does. The stages have a hundredth of the size of a CUDA image with PyTorch and
Next.js, and take a hundredth of the time. Prints a Markdown table: what ran, the seconds until the image was out, and
the bytes that went through a proxy before a registry of its own. `nox -s bench -- seed` runs it; it takes some five
minutes, as root.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stagebake.build.events import Trace
from stagebake.build.result import rebuilt_stages
from stagebake.dockerfile.stages import parse_dockerfile
from tests.support.archive import make_busybox
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, Project
from tests.support.registry import Registry


def weigh(name: str, megabytes: int, seconds: float) -> str:
    """A step that takes so long and writes so many new megabytes, which no compression makes smaller."""
    return f"RUN sleep {seconds} && head -c {megabytes}000000 /dev/urandom > /{name}"


DOCKERFILE = f"""\
FROM busybox:1 AS base
{weigh("base", 30, 1.8)}
WORKDIR /app

FROM base AS python-deps
COPY requirements.txt .
{weigh("python-deps", 20, 7.5)}

FROM base AS node-deps
COPY package.json .
{weigh("node-deps", 5, 2.4)}

FROM node-deps AS builder
COPY src src
{weigh("builder", 2, 1.5)}

FROM base AS runtime
COPY --from=python-deps /python-deps /
COPY --from=builder /builder /
{weigh("runtime", 1, 0.6)}
"""
PUSHES = {
    "first push": {"src/page.tsx": "1\n", "package.json": "{}\n", "requirements.txt": "torch\n"},
    "nothing changed": {},
    "code: a React component": {"src/page.tsx": "2\n"},
    "npm: one more package": {"package.json": '{"dependencies": {}}\n'},
    "Python: other requirements": {"requirements.txt": "torch==2.3.0\n"},
}


Build = Callable[[Project], tuple[tuple[str, ...], int, float]]
"""Builds and pushes; returns the stages and the number of steps that ran, and the seconds until the image was out."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What one push came to: stages and number of steps that ran, seconds until the image was out, and bytes."""

    stages: tuple[str, ...]
    steps: int
    seconds: float
    pulled: int
    pushed: int

    def cells(self) -> list[str]:
        ran = f"{', '.join(self.stages) or 'nothing'} ({self.steps})"
        return [ran, f"{self.seconds:.1f} s", f"{self.pulled / 1e6:.1f} MB", f"{self.pushed / 1e6:.1f} MB"]


def main() -> int:
    """Makes each push once with either, and prints a row for it."""
    print(
        "| before the push | inline: ran (steps) | time | pulled | pushed | stagebake: ran | time | pulled | pushed |"
    )
    print("|---|---|---:|---:|---:|---|---:|---:|---:|", flush=True)
    with repositories() as (usual, ours):
        for name, files in PUSHES.items():
            pushes = (push(usual, files, inline), push(ours, files, stagebake))
            print(f"| {' | '.join([name, *pushes[0].cells(), *pushes[1].cells()])} |", flush=True)
    return 0


def push(project: Project, files: dict[str, str], build: Build) -> Push:
    """Commits the files and builds on an empty engine."""
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


def inline(project: Project) -> tuple[tuple[str, ...], int, float]:
    """The build of the usual workflow. An inline cache comes with the image, so its time is all of it."""
    started = time.monotonic()
    stages, steps = plain_build(project, DOCKERFILE, [f"{project.image}:latest"], "--cache-to=type=inline")
    return stages, steps, time.monotonic() - started


def plain_build(project: Project, dockerfile: str, caches: Iterable[str], *flags: str) -> tuple[tuple[str, ...], int]:
    """`docker buildx build --push` that reads these caches; returns the stages and the number of steps that ran."""
    answer = project.engine.run(
        *("docker", "buildx", "build", "--progress=rawjson", "--target=runtime", f"--tag={project.image}:latest"),
        "--output=type=image,push=true,store=false,unpack=false",
        *(f"--cache-from=type=registry,ref={ref}" for ref in caches),
        *("--network=none", "--provenance=false", f"--build-context=busybox:1=docker-image://{BUSYBOX}", *flags, "."),
        folder=project.folder,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    graph, trace = parse_dockerfile(dockerfile), Trace()
    for line in answer.stderr.splitlines():
        trace.feed_line(line)
    steps = trace.steps_by_stage(graph)
    ran = rebuilt_stages(graph, trace)
    return tuple(name for name in graph.names if name in ran), sum(s.ran for own in steps.values() for s in own)


def stagebake(project: Project) -> tuple[tuple[str, ...], int, float]:
    """The build of this workflow; its caches are saved after the image is out."""
    report = project.build("--push").report
    ran = tuple(stage["name"] for stage in report["stages"] if stage["status"] == "rebuilt")
    steps = sum(not step["cached"] for stage in report["stages"] for step in stage["steps"])
    return ran, steps, report["seconds"]["ship"]


@contextmanager
def repositories() -> Iterator[tuple[Project, Project]]:
    """Two repositories with the same Dockerfile, an engine, and an empty registry."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp")))  # a short path
        engine = Engine(folder / "engine", folder, (make_busybox(BUSYBOX, folder),))
        stack.callback(engine.stop)
        registry = Registry(folder)
        stack.callback(registry.stop)
        projects = tuple(
            Project(folder=folder / name / "project", name=name, engine=engine, registry=registry)
            for name in ("usual", "ours")
        )
        for project in projects:
            project.write({"Dockerfile": DOCKERFILE, ".dockerignore": "stagebake.toml\n"})
            project.git("init", "--quiet", "--initial-branch=main")
            project.settings()
        yield projects[0], projects[1]


if __name__ == "__main__":
    sys.exit(main())
