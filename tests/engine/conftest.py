"""Provide one engine and one registry for all of these tests, and a project for each test."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.archive import make_busybox, make_files
from tests.support.canary import canary_login
from tests.support.chosen_builder import CHOSEN_BUILDER
from tests.support.daemon import missing
from tests.support.engine import Engine
from tests.support.preloaded import PreloadedStagebake
from tests.support.project import BUSYBOX, TOOLS, Project
from tests.support.registry import Registry
from tests.support.shapes import FIVE, TWO

PROGRAMS = ("docker", "dockerd", "containerd", "ctr", "docker-registry", "busybox", "git")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Return the folder of the engine and the registry. Its path is short: sockets allow 108 characters."""
    if gone := missing(*PROGRAMS):
        pytest.fail(f"{', '.join(gone)} not found: run ./bootstrap --tests nox", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture(scope="session")
def engine(folder: Path) -> Iterator[Engine]:
    """Start an engine that has only the base images, and the builder that STAGEBAKE_TEST_BUILDER names."""
    bases = (make_busybox(BUSYBOX, folder), make_files(TOOLS, folder, {"tools.txt": "hammer\n"}))
    running = Engine(folder / "engine", folder, bases, builder=CHOSEN_BUILDER)
    running.preloaded = PreloadedStagebake(folder)
    yield running
    running.preloaded.stop()
    running.stop()


@pytest.fixture(scope="session")
def registry(folder: Path) -> Iterator[Registry]:
    """Start an empty registry. Every program has a login for it, which no other server may receive."""
    running = Registry(folder)
    write_logins(folder, running)
    yield running
    running.stop()


@pytest.fixture
def repository(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine, registry: Registry) -> Project:
    """Return an empty repository with its own image name. The engine is as the last test left it."""
    return repository_in(tmp_path, request.node.nodeid, engine, registry)


@pytest.fixture
def project(repository: Project) -> Project:
    """Return an empty repository and empty the engine."""
    repository.engine.empty()
    return repository


@pytest.fixture
def five(project: Project) -> Project:
    """Return a repository with the five-stage Dockerfile, never built."""
    return committed(project)


@pytest.fixture(scope="session")
def first_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """Push the five-stage Dockerfile once; return the name of its image."""
    project = committed(repository_in(tmp_path_factory.mktemp("first"), "first", engine, registry))
    engine.empty()
    project.build("--push")
    return project.name


@pytest.fixture
def shipped(first_push: str, five: Project) -> Project:
    """Return the five-stage repository with its image and caches in the registry, and an empty engine."""
    five.registry.copy(first_push, five.name)
    return five


@pytest.fixture(scope="session")
def first_push_of_two(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """Push the two-stage Dockerfile once; return the name of its image."""
    project = committed(repository_in(tmp_path_factory.mktemp("two"), "two", engine, registry), TWO)
    engine.empty()
    project.build("--push", f"--image={project.image}:latest")
    return project.name


@pytest.fixture
def two(first_push_of_two: str, project: Project) -> Project:
    """Return the two-stage repository with image and caches in the registry, an empty engine, and a changed file.

    The change makes the build pull the layer of `base` and run `image`.
    """
    project.registry.copy(first_push_of_two, project.name)
    committed(project, TWO)
    project.write({"source.txt": f"{project.name}\n"})
    return project


def write_logins(folder: Path, *registries: Registry) -> None:
    """Write docker's config.json with the canary login of each registry."""
    auths = {registry.host: {"auth": canary_login(registry.host)} for registry in registries}
    (folder / "config.json").write_text(json.dumps({"auths": auths}), encoding="utf-8")


def repository_in(tmp_path: Path, seed: str, engine: Engine, registry: Registry) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    name = f"t{hashlib.sha256(seed.encode()).hexdigest()[:10]}"
    project = Project(folder=folder, name=name, engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    return project


def committed(project: Project, files: Mapping[str, str] = FIVE) -> Project:
    project.write(files)
    project.settings()
    project.commit()
    return project


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the engine's log beside a failure."""
    report = yield
    engine = item.funcargs.get("engine")
    if report.failed and isinstance(engine, Engine):
        report.sections.append(("engine", engine.log()[-3000:]))
    return report
