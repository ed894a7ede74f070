"""Branch, commit and trust of a run, from the variables of each CI system."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stagebake.cache.scopes import Trigger
from stagebake.ci.other_ci import read_other_ci

MAIN = Trigger(branch="main")
STRANGER = Trigger(pull_request=7, trusted=False)
COLLEAGUE = Trigger(pull_request=7)

GITLAB = {"GITLAB_CI": "true", "CI_COMMIT_SHA": "abc", "CI_DEFAULT_BRANCH": "main"}
GITLAB_REQUEST = {**GITLAB, "CI_MERGE_REQUEST_IID": "7", "CI_MERGE_REQUEST_PROJECT_PATH": "o/n"}
JENKINS = {"JENKINS_URL": "https://ci.example/", "GIT_COMMIT": "abc"}
CIRCLECI = {"CIRCLECI": "true", "CIRCLE_SHA1": "abc"}
BUILDKITE = {"BUILDKITE": "true", "BUILDKITE_COMMIT": "abc", "BUILDKITE_REPO": "git@github.com:o/n.git"}
AZURE = {"TF_BUILD": "True", "BUILD_SOURCEVERSION": "abc"}

CASES: Mapping[str, tuple[Mapping[str, str], Trigger]] = {
    "gitlab-branch": ({**GITLAB, "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main"}, MAIN),
    "gitlab-tag": ({**GITLAB, "CI_COMMIT_TAG": "v1", "CI_COMMIT_REF_NAME": "v1"}, Trigger(tag="v1")),
    "gitlab-merge-request": ({**GITLAB_REQUEST, "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "o/n"}, COLLEAGUE),
    "gitlab-merge-request-of-fork": ({**GITLAB_REQUEST, "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "x/n"}, STRANGER),
    "gitlab-merge-request-of-unknown-source": (GITLAB_REQUEST, STRANGER),
    "gitlab-pull-request-at-github": (
        {
            **GITLAB,
            "CI_COMMIT_BRANCH": "main",
            "CI_EXTERNAL_PULL_REQUEST_IID": "7",
            "CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY": "x/n",
            "CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY": "o/n",
        },
        STRANGER,
    ),
    "jenkins-multibranch": ({**JENKINS, "BRANCH_NAME": "main"}, MAIN),
    "jenkins-plain-job": ({**JENKINS, "GIT_BRANCH": "origin/main"}, MAIN),
    "jenkins-plain-job-of-commit": ({**JENKINS, "GIT_BRANCH": "detached"}, Trigger()),
    "jenkins-tag": ({**JENKINS, "BRANCH_NAME": "v1", "TAG_NAME": "v1"}, Trigger(tag="v1")),
    "jenkins-change": ({**JENKINS, "BRANCH_NAME": "PR-7", "CHANGE_ID": "7"}, COLLEAGUE),
    "jenkins-change-of-fork": ({**JENKINS, "BRANCH_NAME": "PR-7", "CHANGE_ID": "7", "CHANGE_FORK": "x"}, STRANGER),
    "jenkins-change-without-number": ({**JENKINS, "CHANGE_ID": "I8473b9"}, Trigger(trusted=False)),
    "circleci-branch": ({**CIRCLECI, "CIRCLE_BRANCH": "main"}, MAIN),
    "circleci-branch-with-pull-request": (
        {**CIRCLECI, "CIRCLE_BRANCH": "feature", "CIRCLE_PULL_REQUEST": "https://github.com/o/n/pull/7"},
        Trigger(branch="feature"),
    ),
    "circleci-tag": ({**CIRCLECI, "CIRCLE_TAG": "v1"}, Trigger(tag="v1")),
    "circleci-fork": ({**CIRCLECI, "CIRCLE_BRANCH": "pull/7", "CIRCLE_PR_NUMBER": "7"}, STRANGER),
    "circleci-fork-by-branch": ({**CIRCLECI, "CIRCLE_BRANCH": "pull/7"}, STRANGER),
    "buildkite-branch": ({**BUILDKITE, "BUILDKITE_BRANCH": "main", "BUILDKITE_PULL_REQUEST": "false"}, MAIN),
    "buildkite-tag": ({**BUILDKITE, "BUILDKITE_BRANCH": "v1", "BUILDKITE_TAG": "v1"}, Trigger(tag="v1")),
    "buildkite-pull-request": (
        {**BUILDKITE, "BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_REPO": "git@github.com:o/n.git"},
        COLLEAGUE,
    ),
    "buildkite-fork": (
        {**BUILDKITE, "BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_REPO": "git@github.com:x/n.git"},
        STRANGER,
    ),
    "azure-branch": ({**AZURE, "BUILD_SOURCEBRANCH": "refs/heads/main"}, MAIN),
    "azure-tag": ({**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v1"}, Trigger(tag="v1")),
    "azure-pull-request": (
        {**AZURE, "BUILD_SOURCEBRANCH": "refs/pull/7/merge", "SYSTEM_PULLREQUEST_ISFORK": "False"},
        COLLEAGUE,
    ),
    "azure-fork": ({**AZURE, "BUILD_SOURCEBRANCH": "refs/pull/7/merge", "SYSTEM_PULLREQUEST_ISFORK": "True"}, STRANGER),
    "azure-pull-request-of-unknown-source": ({**AZURE, "BUILD_SOURCEBRANCH": "refs/pull/7/merge"}, STRANGER),
}


@pytest.mark.parametrize(("environment", "trigger"), CASES.values(), ids=CASES)
def test_read_other_ci_every_system_gives_branch_tag_or_request(
    environment: Mapping[str, str], trigger: Trigger
) -> None:
    run = read_other_ci(environment)
    assert run is not None
    assert (run.trigger, run.revision) == (trigger, "abc")


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}, {"GITLAB_CI": ""}, {"JENKINS_URL": ""}])
def test_read_other_ci_on_a_laptop_gives_none(environment: Mapping[str, str]) -> None:
    assert read_other_ci(environment) is None


@pytest.mark.parametrize(
    ("environment", "branch"),
    [
        (GITLAB, "main"),
        ({**JENKINS, "BRANCH_NAME": "trunk", "BRANCH_IS_PRIMARY": "true"}, "trunk"),
        ({**JENKINS, "BRANCH_NAME": "trunk"}, None),
        ({**BUILDKITE, "BUILDKITE_PIPELINE_DEFAULT_BRANCH": "trunk"}, "trunk"),
        (CIRCLECI, None),
        (AZURE, None),
    ],
)
def test_read_other_ci_default_branch_where_the_system_says_it(
    environment: Mapping[str, str], branch: str | None
) -> None:
    run = read_other_ci(environment)
    assert run is not None
    assert run.default_branch == branch


def test_read_other_ci_gitlab_names_its_own_registry() -> None:
    run = read_other_ci({**GITLAB, "CI_REGISTRY_IMAGE": "registry.example/o/n"})
    assert run is not None
    assert run.image is not None
    assert run.image.name == "registry.example/o/n"


def test_read_other_ci_buildkite_commit_head_is_no_commit() -> None:
    """Buildkite says HEAD for a build that was started without a commit."""
    run = read_other_ci({**BUILDKITE, "BUILDKITE_COMMIT": "HEAD"})
    assert run is not None
    assert run.revision is None
