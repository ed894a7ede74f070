"""Test `stagebake plan` without an engine and without caches."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from tests.git.conftest import CreateRepository
from tests.support.repository import Repository

DOCKERFILE = """FROM scratch AS base
FROM scratch
COPY x /
FROM base AS app
COPY --from=1 / /
FROM scratch AS test
"""


class ShownPlan(NamedTuple):
    """Kinds of the reasons of each stage, and the warnings."""

    stages: dict[str, list[str]]
    warnings: list[str]


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    """Return a repository with an unnamed stage, and one that is not built."""
    repository = create_repository({"Dockerfile": DOCKERFILE, "x": "1"})
    repository.checkout()
    return repository


def show_plan(repository: Repository, *arguments: str) -> ShownPlan:
    """Return what `plan --json` prints."""
    answer = repository.stagebake("plan", "--json", "--target=app", *arguments)
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    stages: dict[str, list[str]] = {}
    for stage in document["stages"]:
        stages[stage["name"]] = [reason["kind"] for reason in stage["reasons"]]
    return ShownPlan(stages, document["warnings"])


def test_plan_with_unnamed_stage_forced_forces_all(repository: Repository) -> None:
    """Accept the name that the table shows, and warn that all other stages are forced, too."""
    stages, warnings = show_plan(repository, "--no-cache", "stage-1")
    assert set(stages) == {"base", "stage-1", "app"}
    assert all(kinds == ["forced"] for kinds in stages.values())
    assert len(warnings) == 1
    assert "Dockerfile:2" in warnings[0]


def test_plan_with_unneeded_stage_forced_warns(repository: Repository) -> None:
    stages, warnings = show_plan(repository, "--no-cache", "test")
    assert not any(kinds == ["forced"] for kinds in stages.values())
    assert len(warnings) == 1
    assert "`test`" in warnings[0]


def test_plan_with_all_stages_forced_has_no_warning(repository: Repository) -> None:
    assert show_plan(repository, "--no-cache").warnings == []
    assert show_plan(repository).warnings == []


def test_plan_with_unnamed_stage_expected_accepts_its_shown_name(repository: Repository) -> None:
    answer = repository.stagebake("plan", "--target=app", "--no-cache", "--expect=rebuild:stage-1")
    assert answer.returncode == 0, answer.stderr
