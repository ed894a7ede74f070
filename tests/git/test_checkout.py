"""Test what a git checkout tells about its branches."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.project.git import GitCheckout
from tests.support.repository import Repository


@pytest.fixture
def empty_repository(tmp_path: Path) -> Repository:
    """Return an empty folder."""
    return Repository(tmp_path)


def create_branch(repository: Repository, branch: str) -> None:
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
def test_default_branch_without_remote_is_main_or_the_only_master(
    empty_repository: Repository, branches: list[str], default: str
) -> None:
    create_branch(empty_repository, branches[0])
    for branch in branches[1:]:
        empty_repository.git("branch", branch)
    assert GitCheckout(empty_repository.folder).default_branch() == default


def test_default_branch_without_commit_is_the_unborn_branch(empty_repository: Repository) -> None:
    empty_repository.git("init", "--quiet", "--initial-branch=master")
    assert GitCheckout(empty_repository.folder).default_branch() == "master"


def test_default_branch_with_remote_is_that_of_its_head(empty_repository: Repository) -> None:
    create_branch(empty_repository, "main")
    empty_repository.git("update-ref", "refs/remotes/origin/trunk", "HEAD")
    empty_repository.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    assert GitCheckout(empty_repository.folder).default_branch() == "trunk"


def test_checkout_outside_git_knows_only_the_default_branch(empty_repository: Repository) -> None:
    checkout = GitCheckout(empty_repository.folder)
    assert (checkout.current_branch(), checkout.default_image().name, checkout.default_branch()) == (None, None, "main")


def test_folder_in_repository_is_relative_to_its_top(empty_repository: Repository) -> None:
    assert GitCheckout(empty_repository.folder).folder_in_repository() == ""
    create_branch(empty_repository, "main")
    inner = empty_repository.folder / "services" / "web"
    inner.mkdir(parents=True)
    assert GitCheckout(empty_repository.folder).folder_in_repository() == ""
    assert GitCheckout(inner).folder_in_repository() == "services/web/"
