"""Compare the cache back ends on the five-stage image of benchmarks/seed.py, each build on an empty engine.

Prints a Markdown table: the stages that ran and the number of steps, the bytes that the build added to the caches, and
the size of the caches after it. For a registry this includes the image, which has the same layers. nektos/act provides
GitHub's cache service. `nox -s bench -- backends` runs it; it takes about five minutes, as root.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.seed import DOCKERFILE, PUSHES
from benchmarks.servers import Servers, start_servers
from tests.support.project import Project
from tests.support.service import CacheService

FORCED = {"nothing changed": (), "`--no-cache python-deps`": ("--no-cache", "python-deps")}


@dataclass(frozen=True, kw_only=True)
class BackendProject:
    """Project, the environment variables for its caches, and the folder where they are stored."""

    project: Project
    environment: Mapping[str, str]
    folder: Path

    def count_bytes(self) -> int:
        """Return the size of all files in the folder."""
        paths = self.folder.rglob("*")
        return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> int:
    """Run each push once with each back end, and print a row for it."""
    print("| back end | before the push | ran (steps) | new | stored |")
    print("|---|---|---|---:|---:|", flush=True)
    with start_servers() as servers:
        for name in ("registry", "local", "gha"):
            backend = open_backend(name, servers)
            for change, files in PUSHES.items():
                cells = measure_push(backend, files)
                print(f"| {name} | {change} | {cells} |", flush=True)
            for change, arguments in FORCED.items():
                cells = measure_push(backend, {}, *arguments)
                print(f"| {name} | {change} | {cells} |", flush=True)
    return 0


def measure_push(backend: BackendProject, files: Mapping[str, str], *arguments: str) -> str:
    """Build on an empty engine; return the last cells of the row."""
    project = backend.project
    project.write(files)
    project.engine.empty()
    before = backend.count_bytes()
    report = project.build("--push", *arguments, **backend.environment).report
    after = backend.count_bytes()
    ran: list[str] = []
    steps = 0
    for stage in report["stages"]:
        steps += sum(not step["cached"] for step in stage["steps"])
        if stage["status"] == "rebuilt":
            ran.append(stage["name"])
    stages = ", ".join(ran) or "nothing"
    return f"{stages} ({steps}) | {(after - before) / 1e6:.1f} MB | {after / 1e6:.1f} MB"


def open_backend(name: str, servers: Servers) -> BackendProject:
    """Return a project with a registry and with its caches in this back end."""
    folder = servers.folder / name
    project_folder = folder / "project"
    project_folder.mkdir(parents=True)
    registry = servers.start_registry(folder)
    project = Project(folder=project_folder, name="app", engine=servers.engine, registry=registry)
    project.write({"Dockerfile": DOCKERFILE, ".dockerignore": "stagebake.toml\n"})
    project.git("init", "--quiet", "--initial-branch=main")
    project.settings()
    environment = {"STAGEBAKE_CACHE": name}
    stored = folder / "registry"
    if name == "local":
        stored = folder / "caches"
        environment["STAGEBAKE_FOLDER"] = str(stored)
    if name == "gha":
        service = CacheService(folder)
        servers.stack.callback(service.stop)
        stored = service.entries
        environment |= service.environment("refs/heads/main")
    return BackendProject(project=project, environment=environment, folder=stored)


if __name__ == "__main__":
    sys.exit(main())
