"""Where caches lie: a registry, a directory, GitHub's cache service. What runs is the same for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from stagebake.cache.manifest import sha256_digest
from tests.engine.conftest import committed, repository_in
from tests.support.engine import Engine
from tests.support.project import Project
from tests.support.registry import Registry
from tests.support.results import ResultsService
from tests.support.service import CacheService
from tests.support.shapes import FIVE, SHAPES, STAGES, changed

pytestmark = pytest.mark.xdist_group("backends")

MAIN = "refs/heads/main"
BRANCH = "refs/heads/feature"


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
    """A project, the environment that leads to its caches, and the folder in which something keeps them."""

    project: Project
    environment: Mapping[str, str]
    folder: Path | None = None

    def build(self, *arguments: str) -> set[str]:
        """Pushes from an engine that remembers nothing; returns the stages that ran."""
        self.project.engine.empty()
        return self.project.build("--push", *arguments, **self.environment).ran

    def lose(self, digest: str) -> None:
        """Removes a blob behind everybody's back."""
        assert self.folder is not None
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        (lost,) = (path for path in files if sha256_digest(path.read_bytes()) == digest)
        lost.unlink()


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[CacheService]:
    """GitHub's cache service, empty."""
    place = folder / "service"
    place.mkdir()
    running = CacheService(place)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry
) -> Place:
    """Each of the back ends, with the five-stage image pushed and its caches saved."""
    folder = tmp_path_factory.mktemp(request.param)
    project = committed(repository_in(folder, f"place-{request.param}", engine, registry))
    environment, kept = {"STAGEBAKE_CACHE": request.param}, folder / "caches"
    if request.param == "local":
        environment["STAGEBAKE_FOLDER"] = str(kept)
    if request.param == "gha":
        service: CacheService = request.getfixturevalue("service")
        environment, kept = environment | service.environment(MAIN), service.entries
    place = Place(project, environment, kept)
    assert place.build() == set(STAGES)
    return place


@pytest.mark.parametrize("place", ["registry", "local", "gha"], indirect=True, scope="module")
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_what_runs(place: Place, scenario: Scenario) -> None:
    """In each scenario the stages that must run do, by the values in the image, and no other."""
    before = place.project.pushed()
    if scenario.edits:
        place.project.write({scenario.edits: f"{time.time_ns()}\n"})
    ran = place.build(*scenario.arguments)
    after = place.project.pushed()
    assert changed(before, after) == ran == scenario.ran


@pytest.mark.parametrize("place", ["local", "gha"], indirect=True, scope="module")
def test_bake_alone_restores_too(place: Place) -> None:
    """The generated file reads the same composed cache without stagebake; a folder must be allowed to bake."""
    project = place.project
    assert project.stagebake("generate", **place.environment).exit_code == 0
    project.engine.empty()
    given = {**place.environment, "FOLDER": str(place.folder)}
    _, progress = project.bake(f"--allow=fs={place.folder}", **given)
    assert project.loaded() == project.pushed(), progress


@pytest.mark.parametrize("place", ["local", "gha"], indirect=True, scope="module")
def test_what_was_lost_is_built_again(place: Place) -> None:
    """A layer that is gone, as GitHub evicts entries one by one: its stage runs again, the others are restored."""
    project = place.project
    before = project.pushed()
    place.lose(project.registry.image_manifest(project.name, "latest")["layers"][-1]["digest"])
    assert place.build() == {"runtime"}
    assert changed(before, project.pushed()) == {"runtime"}
    assert place.build() == set()


@pytest.fixture
def results() -> Iterator[ResultsService]:
    """Version 2 of GitHub's cache service, empty."""
    running = ResultsService()
    yield running
    running.stop()


def test_branches_share_what_they_may_on_github(five: Project, results: ResultsService) -> None:
    """Version 2 of the service: a branch restores what it did not change from main's caches, and main never sees its.

    GitHub lets the branch read the entries of both, which BuildKit would join by chance.
    """
    main = Place(five, {"STAGEBAKE_CACHE": "gha", **results.environment(MAIN)})
    branch = Place(five, {"STAGEBAKE_CACHE": "gha", **results.environment(BRANCH, MAIN)})
    assert main.build() == set(STAGES)
    before, entries = five.pushed(), dict(results.entries)
    five.git("checkout", "--quiet", "-b", "feature")
    five.write({"src/page.ts": "changed\n"})
    assert branch.build() == {"builder", "runtime"}
    assert {ref for ref, _ in results.entries.keys() - entries.keys()} == {BRANCH}
    assert branch.build() == set()
    five.git("checkout", "--quiet", "main")
    five.write({"src/page.ts": FIVE["src/page.ts"]})
    assert main.build() == set()
    assert five.pushed() == before


def test_without_a_way_to_the_service_there_is_a_warning(repository: Project) -> None:
    """BuildKit leaves a cache out without a word where the run's token is missing; stagebake builds and says so."""
    repository.write(SHAPES["one-stage"])
    repository.settings()
    outcome = repository.stagebake("build", STAGEBAKE_CACHE="gha")
    assert outcome.exit_code == 0
    assert "ACTIONS_RUNTIME_TOKEN" in outcome.report["warnings"][0]
