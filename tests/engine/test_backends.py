"""Where caches lie: a registry, a directory, GitHub's cache service. What runs is the same for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.conftest import committed, repository_in
from tests.support.engine import Engine
from tests.support.project import Project
from tests.support.registry import Registry
from tests.support.service import CacheService
from tests.support.shapes import STAGES, changed

BRANCH = "refs/heads/main"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is done between two builds, each on an engine that remembers nothing, and what must run then."""

    edits: str | None = None
    arguments: tuple[str, ...] = ()
    ran: frozenset[str] = frozenset()


SCENARIOS = {
    "nothing": Scenario(),
    "code": Scenario(edits="src/page.ts", ran=frozenset({"builder", "runtime"})),
    "npm": Scenario(edits="package-lock.json", ran=frozenset({"node-deps", "builder", "runtime"})),
    "python": Scenario(edits="requirements.txt", ran=frozenset({"python-deps", "runtime"})),
    "forced": Scenario(arguments=("--no-cache", "python-deps"), ran=frozenset({"python-deps", "runtime"})),
}


@dataclass(frozen=True)
class Place:
    """A project that was pushed once, and the environment that leads to its caches."""

    project: Project
    environment: Mapping[str, str]

    def build(self, *arguments: str, **environment: str) -> set[str]:
        """Pushes from an engine that remembers nothing; returns the stages that ran."""
        self.project.engine.empty()
        return self.project.build("--push", *arguments, **{**self.environment, **environment}).ran


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[CacheService]:
    """GitHub's cache service, empty."""
    place = folder / "service"
    place.mkdir()
    running = CacheService(place)
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["registry", "local", "gha"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry
) -> Place:
    """Each of the back ends, with the five-stage image pushed and its caches saved."""
    folder = tmp_path_factory.mktemp(request.param)
    environment = {"STAGEBAKE_CACHE": request.param}
    if request.param == "local":
        environment["STAGEBAKE_FOLDER"] = str(folder / "caches")
    if request.param == "gha":
        environment |= request.getfixturevalue("service").environment(BRANCH)
    place = Place(committed(repository_in(folder, f"place-{request.param}", engine, registry)), environment)
    assert place.build() == set(STAGES)
    return place


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_what_runs(place: Place, scenario: Scenario) -> None:
    """In each scenario the stages that must run do, by the values in the image, and no other."""
    before = place.project.pushed()
    if scenario.edits:
        place.project.write({scenario.edits: f"{time.time_ns()}\n"})
    ran = place.build(*scenario.arguments)
    after = place.project.pushed()
    assert changed(before, after) == ran == scenario.ran
