"""Build with each cache back end (registry, folder, GitHub's cache service): the same stages run with all of them."""

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
    """Change between two builds, each on an empty engine, and the stages that must run then."""

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
    """Project, the variables that select its cache back end, and the folder that the back end writes."""

    project: Project
    environment: Mapping[str, str]
    folder: Path | None = None

    def build(self, *arguments: str) -> set[str]:
        """Push from an empty engine; return the stages that ran."""
        self.project.engine.empty()
        return self.project.build("--push", *arguments, **self.environment).ran

    def lose(self, digest: str) -> None:
        """Remove a blob from the back end's folder."""
        assert self.folder is not None
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        (lost,) = (path for path in files if sha256_digest(path.read_bytes()) == digest)
        lost.unlink()


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[CacheService]:
    """Start GitHub's cache service, empty."""
    place = folder / "service"
    place.mkdir()
    running = CacheService(place)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry
) -> Place:
    """Push the five-stage image and save its caches in each back end."""
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
def test_build_after_each_change_runs_the_same_stages_with_every_back_end(place: Place, scenario: Scenario) -> None:
    """Compare the values in the image: the stages of the scenario run, and no other stage does."""
    before = place.project.pushed()
    if scenario.edits:
        place.project.write({scenario.edits: f"{time.time_ns()}\n"})
    ran = place.build(*scenario.arguments)
    after = place.project.pushed()
    assert changed(before, after) == ran == scenario.ran


@pytest.mark.parametrize("place", ["local", "gha"], indirect=True, scope="module")
def test_bake_without_stagebake_restores_from_every_back_end(place: Place) -> None:
    """Build the generated file with `docker buildx bake`, which reads the same merged cache."""
    project = place.project
    assert project.stagebake("generate", **place.environment).exit_code == 0
    project.engine.empty()
    given = {**place.environment, "FOLDER": str(place.folder)}
    _, progress = project.bake(f"--allow=fs={place.folder}", **given)
    assert project.loaded() == project.pushed(), progress


@pytest.mark.parametrize("place", ["local", "gha"], indirect=True, scope="module")
def test_build_lost_layer_runs_only_its_stage(place: Place) -> None:
    """Remove one layer, as GitHub evicts single entries: its stage runs again, the others are restored."""
    project = place.project
    before = project.pushed()
    place.lose(project.registry.image_manifest(project.name, "latest")["layers"][-1]["digest"])
    assert place.build() == {"runtime"}
    assert changed(before, project.pushed()) == {"runtime"}
    assert place.build() == set()


@pytest.fixture
def results() -> Iterator[ResultsService]:
    """Start version 2 of GitHub's cache service, empty."""
    running = ResultsService()
    yield running
    running.stop()


def test_build_on_branch_with_github_cache_reads_main_and_writes_its_own(
    five: Project, results: ResultsService
) -> None:
    """Restore on a branch what it did not change from main's caches; main never reads the branch's.

    GitHub lets the branch read the entries of both; BuildKit would join them in a random order.
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


def test_build_without_a_github_token_warns(repository: Project) -> None:
    """Build without the run's token: BuildKit drops the cache silently, stagebake warns about it."""
    repository.write(SHAPES["one-stage"])
    repository.settings()
    outcome = repository.stagebake("build", STAGEBAKE_CACHE="gha")
    assert outcome.exit_code == 0
    assert "ACTIONS_RUNTIME_TOKEN" in outcome.report["warnings"][0]
