"""What the git checkout says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.project.git import GitCheckout
from tests.support.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty folder."""
    return Repository(tmp_path)


def commit(repository: Repository, branch: str) -> None:
    repository.git("init", "--quiet", f"--initial-branch={branch}")
    repository.git("commit", "--quiet", "--allow-empty", "--message=work")


@pytest.mark.parametrize(
    ("branches", "default"),
    [
        (["main"], "main"),
        (["master"], "master"),
        (["master", "main"], "main"),
        (["trunk", "master"], "master"),
        (["trunk"], "main"),
    ],
)
def test_the_default_branch_of_a_repository_without_a_remote(
    repository: Repository, branches: list[str], default: str
) -> None:
    """It is `main`, and `master` only where there is no `main`."""
    commit(repository, branches[0])
    for branch in branches[1:]:
        repository.git("branch", branch)
    assert GitCheckout(repository.folder).default_branch() == default


def test_a_repository_without_a_commit(repository: Repository) -> None:
    """The branch that the first commit will be on counts."""
    repository.git("init", "--quiet", "--initial-branch=master")
    assert GitCheckout(repository.folder).default_branch() == "master"


def test_the_remote_knows_best(repository: Repository) -> None:
    """What its HEAD points at is the default branch, whatever the others are called."""
    commit(repository, "main")
    repository.git("update-ref", "refs/remotes/origin/trunk", "HEAD")
    repository.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    assert GitCheckout(repository.folder).default_branch() == "trunk"


def test_a_folder_outside_of_git(repository: Repository) -> None:
    """Nothing is known, and the default branch is `main`."""
    checkout = GitCheckout(repository.folder)
    assert (checkout.current_branch(), checkout.default_image().name, checkout.default_branch()) == (None, None, "main")
