"""Test the completion that a shell asks for, and the version."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.git.conftest import CreateRepository
from tests.support.repository import Repository

DOCKERFILE = "FROM debian AS base\nFROM base AS deps\nFROM deps AS runtime\n"


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    made = create_repository({"Dockerfile": DOCKERFILE})
    made.checkout()
    return made


def complete(repository: Repository, line: str) -> set[str]:
    """Return what a shell offers at the end of a line."""
    offers = repository.folder / "offers"
    environment = {
        "PATH": os.environ["PATH"],
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(offers),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    program = Path(sys.executable).with_name("stagebake")
    answer = subprocess.run([program], cwd=repository.folder, env=environment, capture_output=True, check=False)
    assert answer.stderr == b""
    return {word.strip() for word in offers.read_text().splitlines()}


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("stagebake pl", {"plan"}),
        ("stagebake build --no-c", {"--no-cache"}),
        ("stagebake build --no-cache b", {"base"}),
        ("stagebake plan --target r", {"runtime"}),
    ],
)
def test_completion_offers_verbs_flags_and_stages(repository: Repository, line: str, offers: set[str]) -> None:
    assert complete(repository, line) == offers


def test_completion_with_a_dockerfile_that_is_not_valid_offers_nothing(repository: Repository) -> None:
    repository.write_file("Dockerfile", "FROM\n")
    assert complete(repository, "stagebake plan --target r") == set()


def test_version_prints_the_installed_version(repository: Repository) -> None:
    answer = repository.stagebake("--version")
    assert (answer.returncode, answer.stdout) == (0, f"stagebake {version('stagebake')}\n")


def test_version_with_verbose_and_no_engine_says_which_programs_do_not_answer(repository: Repository) -> None:
    lines = repository.stagebake("--version", "--verbose").stdout.splitlines()
    assert lines[0] == f"stagebake {version('stagebake')}"
    assert "Docker Engine no answer" in lines


def test_stagebake_without_a_verb_is_an_error(repository: Repository) -> None:
    answer = repository.stagebake()
    assert answer.returncode == 2
    assert "required: VERB" in answer.stderr
