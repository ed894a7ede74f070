"""One engine and one registry for all of these tests, and a project for each."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.archive import make_busybox, make_files
from tests.support.daemon import missing
from tests.support.engine import Engine
from tests.support.preloaded import PreloadedStagebake
from tests.support.project import BUSYBOX, TOOLS, Project
from tests.support.registry import Registry
from tests.support.shapes import FIVE, TWO

PROGRAMS = ("docker", "dockerd", "containerd", "ctr", "docker-registry", "busybox", "git")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where the engine and the registry live. Its path is short: that of a socket may have 108 characters."""
    if gone := missing(*PROGRAMS):
        pytest.fail(f"{', '.join(gone)} not found: run ./bootstrap --tests nox", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp") as made:
        yield Path(made)


@pytest.fixture(scope="session")
def engine(folder: Path) -> Iterator[Engine]:
    """An engine that knows the base images and nothing else."""
    bases = (make_busybox(BUSYBOX, folder), make_files(TOOLS, folder, {"tools.txt": "hammer\n"}))
    running = Engine(folder / "engine", folder, bases)
    running.preloaded = PreloadedStagebake(folder)
    yield running
    running.preloaded.stop()
    running.stop()


@pytest.fixture(scope="session")
def registry(folder: Path) -> Iterator[Registry]:
    """An empty registry."""
    running = Registry(folder)
    yield running
    running.stop()


@pytest.fixture
def repository(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine, registry: Registry) -> Project:
    """An empty repository, whose image has a name of its own; the engine is as the last test left it."""
    return repository_in(tmp_path, request.node.nodeid, engine, registry)


@pytest.fixture
def project(repository: Project) -> Project:
    """An empty repository and an engine that remembers nothing."""
    repository.engine.empty()
    return repository


@pytest.fixture
def five(project: Project) -> Project:
    """A repository with the five-stage Dockerfile, never built."""
    return committed(project)


@pytest.fixture(scope="session")
def first_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """The name under which the five-stage Dockerfile was pushed once."""
    project = committed(repository_in(tmp_path_factory.mktemp("first"), "first", engine, registry))
    engine.empty()
    project.build("--push")
    return project.name


@pytest.fixture
def shipped(first_push: str, five: Project) -> Project:
    """The five-stage repository with its image and caches in the registry, and an engine that remembers nothing."""
    five.registry.copy(first_push, five.name)
    return five


@pytest.fixture(scope="session")
def first_push_of_two(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """The name under which the two-stage Dockerfile was pushed once."""
    project = committed(repository_in(tmp_path_factory.mktemp("two"), "two", engine, registry), TWO)
    engine.empty()
    project.build("--push", f"--image={project.image}:latest")
    return project.name


@pytest.fixture
def two(first_push_of_two: str, project: Project) -> Project:
    """The two-stage repository with image and caches in the registry, an engine that remembers nothing, and a change
    for which the layer of `base` is pulled and `image` runs."""
    project.registry.copy(first_push_of_two, project.name)
    committed(project, TWO)
    project.write({"source.txt": f"{project.name}\n"})
    return project


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
    """Beside a failure stands what the engine said."""
    report = yield
    engine = item.funcargs.get("engine")
    if report.failed and isinstance(engine, Engine):
        report.sections.append(("engine", engine.log()[-3000:]))
    return report
