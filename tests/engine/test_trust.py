"""Push from CI runs of all kinds: only the default branch's own code becomes `latest`.

The git order of commits and the CI's variables are real; the build itself is restored from the caches, so that a push
takes a second or two.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Outcome, Project

STRANGER: Mapping[str, Any] = {
    "workflow_run": {"event": "pull_request", "head_branch": "main", "head_repository": {"full_name": "stranger/app"}}
}


def head(project: Project) -> str:
    return project.engine.run("git", "rev-parse", "HEAD", folder=project.folder).stdout.strip()


def github(project: Project, event: str, ref: str, revision: str, **payload: Any) -> dict[str, str]:
    """Return the variables of a run of GitHub Actions."""
    file = project.folder.parent / "event.json"
    document = {"repository": {"default_branch": "main"}, **payload}
    file.write_text(json.dumps(document), encoding="utf-8")
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": str(file),
        "GITHUB_REF": ref,
        "GITHUB_SHA": revision,
        "GITHUB_REPOSITORY": "owner/app",
        "GITHUB_SERVER_URL": "https://github.com",
    }


def push(project: Project, environment: Mapping[str, str]) -> Outcome:
    outcome = project.stagebake("build", "--push", **environment)
    assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
    return outcome


def new_commit(project: Project, text: str) -> str:
    project.write({"source.txt": f"{text}\n"})
    project.commit()
    return head(project)


@pytest.fixture
def pushed_main(two: Project) -> Project:
    """Return a project whose default branch was pushed once by a workflow."""
    push(two, github(two, "push", "refs/heads/main", head(two)))
    return two


def remove_git(folder: Path) -> None:
    shutil.rmtree(folder / ".git")


def change_owner(folder: Path) -> None:
    """Give the folder to another user, as a job in a container sees its checkout."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, 1001, 1001)


@pytest.mark.parametrize("spoil", [remove_git, change_owner])
def test_push_of_a_branch_without_usable_git_leaves_latest(pushed_main: Project, spoil: Callable[[Path], None]) -> None:
    """Take branch and commit from the CI's variables where git says nothing."""
    latest = pushed_main.registry.digest(pushed_main.name, "latest")
    revision = new_commit(pushed_main, "feature")
    environment = github(pushed_main, "push", "refs/heads/feature/x", revision)
    spoil(pushed_main.folder)
    push(pushed_main, environment)
    assert pushed_main.registry.digest(pushed_main.name, "latest") == latest
    assert f"feature-x-{revision[:7]}" in pushed_main.tags()


@pytest.mark.parametrize(
    ("event", "payload"),
    [("workflow_run", STRANGER), ("repository_dispatch", {}), ("issue_comment", {}), ("workflow_dispatch", {})],
)
def test_push_of_a_stranger_s_commit_gets_the_tag_of_its_commit_alone(
    pushed_main: Project, event: str, payload: Mapping[str, Any]
) -> None:
    """Check out another commit than GITHUB_SHA under the default branch's ref, as such workflows do."""
    tags = pushed_main.tags()
    latest = pushed_main.registry.digest(pushed_main.name, "latest")
    caches = {tag: pushed_main.registry.digest(pushed_main.name, tag) for tag in tags if tag.startswith("cache")}
    environment = github(pushed_main, event, "refs/heads/main", head(pushed_main), **payload)
    pushed_main.git("checkout", "--quiet", "--detach", "HEAD")
    pushed_main.git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--amend", "--message=other")
    revision = new_commit(pushed_main, "stranger")
    push(pushed_main, environment)
    assert pushed_main.registry.digest(pushed_main.name, "latest") == latest
    assert pushed_main.tags() - tags == {revision[:7]}
    assert {tag: pushed_main.registry.digest(pushed_main.name, tag) for tag in caches} == caches


def test_push_of_an_older_commit_leaves_latest_and_says_so(pushed_main: Project) -> None:
    """Run last week's workflow again."""
    old = head(pushed_main)
    new = new_commit(pushed_main, "newer")
    push(pushed_main, github(pushed_main, "push", "refs/heads/main", new))
    latest = pushed_main.registry.digest(pushed_main.name, "latest")
    pushed_main.git("checkout", "--quiet", old)
    outcome = push(pushed_main, github(pushed_main, "push", "refs/heads/main", old))
    assert pushed_main.registry.digest(pushed_main.name, "latest") == latest
    assert f"main-{old[:7]}" in pushed_main.tags()
    (warning,) = outcome.report["warnings"]
    assert "older" in warning


CI_VARIABLES: Mapping[str, Mapping[str, str]] = {
    "gitlab": {"GITLAB_CI": "true", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"},
    "jenkins": {"JENKINS_URL": "https://ci.example/", "GIT_BRANCH": "origin/main"},
    "azure": {"TF_BUILD": "True", "BUILD_SOURCEBRANCH": "refs/heads/main"},
}


@pytest.mark.parametrize("system", CI_VARIABLES)
def test_push_from_a_detached_head_in_ci_saves_the_branch_s_caches(two: Project, system: str) -> None:
    """Check out a commit without a branch, as GitLab, Jenkins and Azure do."""
    two.git("checkout", "--quiet", "--detach")
    revision = new_commit(two, system)
    first = two.build("--push", **CI_VARIABLES[system])
    two.engine.empty()
    second = two.build("--push", **CI_VARIABLES[system])
    assert first.ran == {"image"}
    assert second.ran == set()
    assert {"latest", f"main-{revision[:7]}"} <= two.tags()


def test_push_from_an_unknown_detached_head_says_that_no_cache_is_saved(two: Project) -> None:
    two.git("checkout", "--quiet", "--detach")
    outcome = push(two, {})
    (warning,) = outcome.report["warnings"]
    assert warning.startswith("no cache is saved")
    assert "--scope BRANCH" in warning
