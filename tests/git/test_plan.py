"""`stagebake plan` where no engine answers and nothing is cached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.repository import Repository, grow

DOCKERFILE = "FROM scratch AS base\nFROM scratch\nCOPY x /\nFROM base AS app\nCOPY --from=1 / /\nFROM scratch AS test\n"


def plan(repository: Repository, *arguments: str) -> tuple[dict[str, Any], list[str]]:
    """What `plan --json` says: the reasons of each stage, and the warnings."""
    answer = repository.stagebake("plan", "--json", "--target=app", *arguments)
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    stages = {stage["name"]: [reason["kind"] for reason in stage["reasons"]] for stage in document["stages"]}
    return stages, document["warnings"]


def test_what_no_cache_forces_beside_what_it_names(tmp_path: Path) -> None:
    """An unnamed stage is forced by the name that the table shows, with all others; one that is not built is named."""
    repository = grow(tmp_path / "project", [{"Dockerfile": DOCKERFILE, "x": "1"}])
    repository.checkout()
    stages, warnings = plan(repository, "--no-cache", "stage-1")
    assert set(stages) == {"base", "stage-1", "app"}
    assert all(kinds == ["forced"] for kinds in stages.values())
    assert ["Dockerfile:2" in warning for warning in warnings] == [True]
    stages, warnings = plan(repository, "--no-cache", "test")
    assert not any(kinds == ["forced"] for kinds in stages.values())
    assert ["`test`" in warning for warning in warnings] == [True]
    assert plan(repository, "--no-cache")[1] == plan(repository)[1] == []
    answer = repository.stagebake("plan", "--target=app", "--no-cache", "--expect=rebuild:stage-1")
    assert answer.returncode == 0, answer.stderr
