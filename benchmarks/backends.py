"""The back ends side by side on the five-stage image of benchmarks/seed.py, each build on an emptied engine.

Prints a Markdown table: the stages that ran and how many steps, what the caches took in that build, and what they hold
after it. For a registry that is the image too, whose layers are those of the caches. GitHub's cache service is the one
that nektos/act brings. `nox -s bench -- backends` runs it; it takes some five minutes, as root.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.seed import DOCKERFILE, PUSHES
from tests.support.archive import make_busybox
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, Project
from tests.support.registry import Registry
from tests.support.service import CacheService

FORCED = {"nothing changed": (), "`--no-cache python-deps`": ("--no-cache", "python-deps")}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A project, the environment that leads to its caches, and the folder that they lie in."""

    project: Project
    environment: Mapping[str, str]
    folder: Path

    def stage_cache(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def main() -> int:
    """Makes each push once with each back end, and prints a row for it."""
    print("| back end | before the push | ran (steps) | new | stored |")
    print("|---|---|---|---:|---:|", flush=True)
    with places() as found:
        for name, place in found.items():
            for before, files in PUSHES.items():
                print(f"| {name} | {before} | {push(place, files)} |", flush=True)
            for before, arguments in FORCED.items():
                print(f"| {name} | {before} | {push(place, {}, *arguments)} |", flush=True)
    return 0


def push(place: Place, files: Mapping[str, str], *arguments: str) -> str:
    """Builds on an empty engine; returns the cells of the row."""
    place.project.write(files)
    place.project.engine.empty()
    stage_cache = place.stage_cache()
    report = place.project.build("--push", *arguments, **place.environment).report
    ran = ", ".join(stage["name"] for stage in report["stages"] if stage["status"] == "rebuilt") or "nothing"
    steps = sum(not step["cached"] for stage in report["stages"] for step in stage["steps"])
    return f"{ran} ({steps}) | {(place.stage_cache() - stage_cache) / 1e6:.1f} MB | {place.stage_cache() / 1e6:.1f} MB"


@contextmanager
def places() -> Iterator[dict[str, Place]]:
    """A place for each back end, all on one engine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp")))  # a short path
        engine = Engine(folder / "engine", folder, (make_busybox(BUSYBOX, folder),))
        stack.callback(engine.stop)
        yield {name: _place(name, folder / name, engine, stack) for name in ("registry", "local", "gha")}


def _place(name: str, folder: Path, engine: Engine, stack: ExitStack) -> Place:
    (folder / "project").mkdir(parents=True)
    registry = Registry(folder)
    stack.callback(registry.stop)
    project = Project(folder=folder / "project", name="app", engine=engine, registry=registry)
    project.write({"Dockerfile": DOCKERFILE, ".dockerignore": "stagebake.toml\n"})
    project.git("init", "--quiet", "--initial-branch=main")
    project.settings()
    environment, stage_cache = {"STAGEBAKE_CACHE": name}, folder / "registry"
    if name == "local":
        stage_cache = folder / "caches"
        environment["STAGEBAKE_FOLDER"] = str(stage_cache)
    if name == "gha":
        service = CacheService(folder)
        stack.callback(service.stop)
        environment, stage_cache = environment | service.environment("refs/heads/main"), service.entries
    return Place(project=project, environment=environment, folder=stage_cache)


if __name__ == "__main__":
    sys.exit(main())
