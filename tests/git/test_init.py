"""Test what `stagebake init` takes over in a real git repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from stagebake.generate.workflow import WORKFLOW_FILE
from tests.git.conftest import CreateRepository
from tests.support.repository import Repository

USUAL = (Path(__file__).parents[1] / "support/usual-workflow.yml").read_text(encoding="utf-8")
DOCKERFILE = "FROM debian AS base\nFROM base AS runtime\n"
COMPOSE = "services:\n  web: {build: {context: .}}\n  job: {build: {context: ., target: base}}\n"
SECOND = "on: push\njobs:\n  a:\n    steps:\n      - uses: docker/build-push-action@v6\n"


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    """Return a repository with the usual workflow."""
    made = create_repository({"Dockerfile": DOCKERFILE, WORKFLOW_FILE: USUAL})
    made.git("remote", "add", "origin", "https://github.com/Owner/App.git")
    made.checkout()
    return made


def read_settings(repository: Repository) -> dict[str, object]:
    return tomllib.loads((repository.folder / "stagebake.toml").read_text(encoding="utf-8"))


def test_init_takes_over_the_only_build_and_says_so_before_it_writes(repository: Repository) -> None:
    answer = repository.stagebake("init", "--yes")
    assert answer.returncode == 0, answer.stderr
    line = 1 + [line.strip() for line in USUAL.splitlines()].index("target: runtime")
    assert f"{WORKFLOW_FILE}:{line}: target: runtime: taken: setting `target`" in answer.stdout
    assert answer.stdout.index("taken over from") < answer.stdout.index("wrote ")
    assert read_settings(repository) == {
        "image": "ghcr.io/owner/app",
        "target": "runtime",
        "platforms": ["linux/amd64"],
    }
    workflow = (repository.folder / WORKFLOW_FILE).read_text(encoding="utf-8")
    assert 'branches: ["main", "feature/exercise-template"]' in workflow
    assert "docker/metadata-action" in workflow
    assert "to undo this: git restore or remove " in answer.stdout


def test_init_dry_run_shows_all_files_and_writes_nothing(repository: Repository) -> None:
    answer = repository.stagebake("init", "--dry-run")
    assert answer.returncode == 0, answer.stderr
    files = {"stagebake.toml", "docker-bake.hcl", "noxfile.py", Path(WORKFLOW_FILE).name}
    assert set(re.findall(r"^\+\+\+ (\S+)", answer.stdout, re.MULTILINE)) == files
    assert repository.git("status", "--porcelain") == ""


def test_init_from_none_takes_over_nothing(repository: Repository) -> None:
    answer = repository.stagebake("init", "--yes", "--from=none")
    assert "taken over" not in answer.stdout
    assert read_settings(repository) == {"image": "ghcr.io/owner/app"}


def test_init_with_several_builds_takes_over_none_and_names_them(repository: Repository) -> None:
    repository.write_file(".github/workflows/other.yml", SECOND)
    answer = repository.stagebake("init", "--yes")
    assert re.search(r"choose one with --from: \S+build-and-push.yml:\d+, \S+other.yml:5$", answer.stdout, re.MULTILINE)
    assert read_settings(repository) == {"image": "ghcr.io/owner/app"}


def test_init_from_a_service_takes_its_build(repository: Repository) -> None:
    repository.write_file("compose.yaml", COMPOSE)
    answer = repository.stagebake("init", "--yes", "--from=compose.yaml:job")
    assert answer.returncode == 0, answer.stderr
    assert read_settings(repository) == {"image": "ghcr.io/owner/app", "target": "base"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("compose.yaml", "names no single build; builds in compose.yaml: compose.yaml:web, compose.yaml:job"),
        ("compose.yaml:db", "names no single build"),
        ("missing.yml", "missing.yml:1: not readable"),
        ("Dockerfile", "Dockerfile:2: "),
    ],
)
def test_init_from_something_else_is_an_error(repository: Repository, source: str, message: str) -> None:
    repository.write_file("compose.yaml", COMPOSE)
    repository.write_file("Dockerfile", "FROM: [\n")
    answer = repository.stagebake("init", "--yes", f"--from={source}")
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_init_in_a_repository_with_settings_takes_over_nothing(repository: Repository) -> None:
    repository.write_file("stagebake.toml", 'image = "ghcr.io/owner/app"\n')
    answer = repository.stagebake("init", "--yes")
    assert "taken over" not in answer.stdout
    assert read_settings(repository) == {"image": "ghcr.io/owner/app"}


def test_init_from_with_settings_names_what_they_lack(repository: Repository) -> None:
    repository.write_file("stagebake.toml", 'image = "ghcr.io/owner/app"\ntarget = "base"\n')
    answer = repository.stagebake("init", "--yes", f"--from={WORKFLOW_FILE}")
    assert "stagebake.toml is kept; add to it what was taken over: platforms" in answer.stdout
