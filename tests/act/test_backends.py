"""The workflows of the other two back ends: what their extra step hands on or keeps is what a build needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagebake.project.settings import Settings
from tests.act.conftest import runner_of
from tests.act.runner import CACHES, Runner, edit
from tests.support.project import Project
from tests.support.results import ResultsService
from tests.support.service import CacheService
from tests.support.shapes import STAGES

pytestmark = pytest.mark.engine

MAIN = "refs/heads/main"


@pytest.fixture(params=[CacheService, ResultsService], ids=["v1", "v2"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheService | ResultsService]:
    """Each version of GitHub's cache service, empty."""
    running = CacheService(tmp_path / "service") if request.param is CacheService else ResultsService()
    yield running
    running.stop()


def test_the_cache_service_of_github(five: Project, tmp_path: Path, service: CacheService | ResultsService) -> None:
    """The way there is shown to actions only; one step hands it on, and the builds save and restore there."""
    five.settings('cache = "gha"\n')
    runner = runner_of(five, tmp_path, Settings(cache="gha"), SHOWN=json.dumps(service.environment(MAIN)))
    push_twice(runner)
    assert not five.tags() & CACHES


def test_a_folder_that_actions_cache_keeps(five: Project, tmp_path: Path) -> None:
    """The newest entry of the branch is restored before each build, of the default branch where it has none yet."""
    kept = tmp_path / "kept"
    kept.mkdir()
    five.settings('cache = "local"\n')
    runner = runner_of(five, tmp_path, Settings(cache="local"), KEPT=str(kept))
    push_twice(runner)
    edit(five)
    forget(runner)
    assert runner.dispatch(branch="feature").rebuilt == {"builder", "runtime"}
    assert sorted(entry.name.split("-")[1] for entry in kept.iterdir()) == ["feature", "main", "main"]
    assert not five.tags() & CACHES


def push_twice(runner: Runner) -> None:
    """The first push builds everything, the next one nothing."""
    assert runner.push().rebuilt == set(STAGES)
    before = runner.project.pushed()
    forget(runner)
    assert runner.push().rebuilt == set()
    assert runner.project.pushed() == before


def forget(runner: Runner) -> None:
    """The next job runs on another machine: an engine and a home that remember nothing."""
    runner.project.engine.empty()
    shutil.rmtree(runner.folder)
    runner.folder.mkdir()
