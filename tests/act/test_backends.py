"""Run the workflows of the other two back ends: their extra step provides what a build needs."""

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
    """Start each version of GitHub's cache service, empty."""
    running = CacheService(tmp_path / "service") if request.param is CacheService else ResultsService()
    yield running
    running.stop()


def test_workflow_with_github_cache_saves_and_restores(
    five: Project, tmp_path: Path, service: CacheService | ResultsService
) -> None:
    """Pass the service's address, which only actions see, on to the builds."""
    five.settings('cache = "gha"\n')
    runner = runner_of(five, tmp_path, Settings(cache="gha"), SHOWN=json.dumps(service.environment(MAIN)))
    push_twice(runner)
    assert not five.tags() & CACHES


def test_workflow_with_local_cache_keeps_a_folder_per_branch(five: Project, tmp_path: Path) -> None:
    """Restore the branch's newest entry before each build; the default branch's where it has none yet."""
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
    """Check that the first push builds everything and the next one nothing."""
    assert runner.push().rebuilt == set(STAGES)
    before = runner.project.pushed()
    forget(runner)
    assert runner.push().rebuilt == set()
    assert runner.project.pushed() == before


def forget(runner: Runner) -> None:
    """Let the next job run on another machine, with an empty engine and an empty home."""
    runner.project.engine.empty()
    shutil.rmtree(runner.folder)
    runner.folder.mkdir()
