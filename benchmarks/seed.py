"""The usual GitHub workflow and this one, side by side on a five-stage image, each build on an emptied engine.

The usual one is docker/build-push-action with `cache-from: type=registry,ref=IMAGE:latest` and `cache-to: type=inline`.
Its `docker buildx build` is run here as the action runs it, but for an output that leaves restored layers in the
registry, as the action's own builder does. The stages have a hundredth of the size of a CUDA image with PyTorch and
Next.js. Prints a Markdown table: what ran, and the bytes that went through a proxy before a registry of its own.
`nox -s bench -- seed` runs it; it takes some three minutes, as root.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stagebake import outcome
from stagebake.dockerfile import parse
from stagebake.events import Trace
from tests.support.archive import make_busybox
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, Project
from tests.support.registry import Registry


def weigh(name: str, megabytes: int) -> str:
    """A step that writes so many new megabytes, which no compression makes smaller."""
    return f"RUN head -c {megabytes}000000 /dev/urandom > /{name}"


DOCKERFILE = f"""\
FROM busybox:1 AS base
{weigh("base", 30)}
WORKDIR /app

FROM base AS python-deps
COPY requirements.txt .
{weigh("python-deps", 20)}

FROM base AS node-deps
COPY package.json .
{weigh("node-deps", 5)}

FROM node-deps AS builder
COPY src src
{weigh("builder", 2)}

FROM base AS runtime
COPY --from=python-deps /python-deps /
COPY --from=builder /builder /
{weigh("runtime", 1)}
"""
PUSHES = {
    "first push": {"src/page.tsx": "1\n", "package.json": "{}\n", "requirements.txt": "torch\n"},
    "nothing changed": {},
    "code: a React component": {"src/page.tsx": "2\n"},
    "npm: one more package": {"package.json": '{"dependencies": {}}\n'},
    "Python: other requirements": {"requirements.txt": "torch==2.3.0\n"},
}


Build = Callable[[Project], tuple[tuple[str, ...], int]]
"""Builds and pushes; returns the stages and the number of steps that ran."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What one push came to: the stages and the number of steps that ran, and bytes."""

    stages: tuple[str, ...]
    steps: int
    pulled: int
    pushed: int

    def cells(self) -> list[str]:
        ran = f"{', '.join(self.stages) or 'nothing'} ({self.steps})"
        return [ran, f"{self.pulled / 1e6:.1f} MB", f"{self.pushed / 1e6:.1f} MB"]


def main() -> int:
    """Makes each push once with either, and prints a row for it."""
    print("| before the push | inline: stages that ran (steps) | pulled | pushed | stagebake: ran | pulled | pushed |")
    print("|---|---|---:|---:|---|---:|---:|", flush=True)
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
        stages, steps = build(project)
    return Push(
        stages=stages,
        steps=steps,
        pulled=sum(exchange.sent for exchange in seen if exchange.method == "GET"),
        pushed=sum(exchange.received for exchange in seen),
    )


def inline(project: Project) -> tuple[tuple[str, ...], int]:
    """The build of the usual workflow."""
    answer = project.engine.run(
        *("docker", "buildx", "build", "--progress=rawjson", "--target=runtime", f"--tag={project.image}:latest"),
        "--output=type=image,push=true,store=false,unpack=false",
        *(f"--cache-from=type=registry,ref={project.image}:latest", "--cache-to=type=inline"),
        *("--network=none", "--provenance=false", f"--build-context=busybox:1=docker-image://{BUSYBOX}", "."),
        folder=project.folder,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    graph, trace = parse(DOCKERFILE), Trace()
    for line in answer.stderr.splitlines():
        trace.feed(line)
    steps = outcome.by_stage(graph, trace)
    ran = outcome.rebuilt(graph, trace)
    return tuple(name for name in graph.names if name in ran), sum(s.ran for own in steps.values() for s in own)


def stagebake(project: Project) -> tuple[tuple[str, ...], int]:
    """The build of this workflow."""
    report = project.build("--push").report
    ran = tuple(stage["name"] for stage in report["stages"] if stage["status"] == "rebuilt")
    return ran, sum(not step["cached"] for stage in report["stages"] for step in stage["steps"])


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
