"""Read the variables of GitLab CI, Jenkins, CircleCI, Buildkite and Azure Pipelines: event, branch, commit. Pure.

Sources: docs.gitlab.com/ci/variables/predefined_variables, plugins.jenkins.io (workflow-multibranch, branch-api, git),
circleci.com/docs/variables, buildkite.com/docs/pipelines/environment-variables,
learn.microsoft.com/azure/devops/pipelines/build/variables. `github_run` reads GitHub's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stagebake.cache.scopes import Trigger
from stagebake.ci.ci_run import CiRun
from stagebake.ci.github_events import ref_trigger
from stagebake.naming.image_name import DefaultImage

Environment = Mapping[str, str]


def read_other_ci(environment: Environment) -> CiRun | None:
    """Return the run of a CI system other than GitHub Actions that this process belongs to; None on a laptop."""
    for variable, read_run in _READERS.items():
        if environment.get(variable):
            return read_run(environment)
    return None


def _read_gitlab(environment: Environment) -> CiRun:
    image = environment.get("CI_REGISTRY_IMAGE")
    return CiRun(
        system="GitLab CI",
        trigger=_gitlab_trigger(environment),
        default_branch=environment.get("CI_DEFAULT_BRANCH") or None,
        revision=environment.get("CI_COMMIT_SHA") or None,
        source=environment.get("CI_PROJECT_URL") or None,
        image=DefaultImage(name=image) if image else None,
    )


def _gitlab_trigger(environment: Environment) -> Trigger:
    """Trust a merge request only if its source project is known to be its target project."""
    request = environment.get("CI_MERGE_REQUEST_IID") or environment.get("CI_EXTERNAL_PULL_REQUEST_IID")
    if request:
        source = environment.get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH") or environment.get(
            "CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY"
        )
        target = environment.get("CI_MERGE_REQUEST_PROJECT_PATH") or environment.get(
            "CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY"
        )
        return _numbered_request(request, trusted=source is not None and source == target)
    if tag := environment.get("CI_COMMIT_TAG"):
        return Trigger(tag=tag)
    return Trigger(branch=environment.get("CI_COMMIT_BRANCH") or None)


def _read_jenkins(environment: Environment) -> CiRun:
    branch = environment.get("BRANCH_NAME")
    primary = environment.get("BRANCH_IS_PRIMARY") == "true"
    return CiRun(
        system="Jenkins",
        trigger=_jenkins_trigger(environment),
        default_branch=branch if primary else None,
        revision=environment.get("GIT_COMMIT") or None,
    )


def _jenkins_trigger(environment: Environment) -> Trigger:
    """Read a multibranch job's variables, else the git plugin's GIT_BRANCH (`origin/main`).

    CHANGE_FORK names the fork of a change request; the branch-api plugin leaves it out for the same repository.
    """
    if change := environment.get("CHANGE_ID"):
        return _numbered_request(change, trusted=not environment.get("CHANGE_FORK"))
    if tag := environment.get("TAG_NAME"):
        return Trigger(tag=tag)
    if branch := environment.get("BRANCH_NAME"):
        return Trigger(branch=branch)
    remote_branch = environment.get("GIT_BRANCH", "")
    if remote_branch.startswith("origin/"):
        return Trigger(branch=remote_branch.removeprefix("origin/"))
    return Trigger()


def _read_circleci(environment: Environment) -> CiRun:
    return CiRun(
        system="CircleCI",
        trigger=_circleci_trigger(environment),
        revision=environment.get("CIRCLE_SHA1") or None,
    )


def _circleci_trigger(environment: Environment) -> Trigger:
    """Take a fork's pull request from CIRCLE_PR_NUMBER, which is set for forks alone, or from its branch `pull/7`."""
    branch = environment.get("CIRCLE_BRANCH", "")
    request = environment.get("CIRCLE_PR_NUMBER")
    if branch.startswith("pull/"):
        request = request or branch.split("/")[1]
    if request:
        return _numbered_request(request, trusted=False)
    if tag := environment.get("CIRCLE_TAG"):
        return Trigger(tag=tag)
    return Trigger(branch=branch or None)


def _read_buildkite(environment: Environment) -> CiRun:
    revision = environment.get("BUILDKITE_COMMIT")
    return CiRun(
        system="Buildkite",
        trigger=_buildkite_trigger(environment),
        default_branch=environment.get("BUILDKITE_PIPELINE_DEFAULT_BRANCH") or None,
        revision=None if revision in ("", "HEAD") else revision,
    )


def _buildkite_trigger(environment: Environment) -> Trigger:
    """BUILDKITE_PULL_REQUEST is a number or `false`; BUILDKITE_PULL_REQUEST_REPO is where its head is."""
    request = environment.get("BUILDKITE_PULL_REQUEST", "false")
    if request not in ("", "false"):
        head = environment.get("BUILDKITE_PULL_REQUEST_REPO")
        return _numbered_request(request, trusted=head is not None and head == environment.get("BUILDKITE_REPO"))
    if tag := environment.get("BUILDKITE_TAG"):
        return Trigger(tag=tag)
    return Trigger(branch=environment.get("BUILDKITE_BRANCH") or None)


def _read_azure(environment: Environment) -> CiRun:
    return CiRun(
        system="Azure Pipelines",
        trigger=_azure_trigger(environment),
        revision=environment.get("BUILD_SOURCEVERSION") or None,
    )


def _azure_trigger(environment: Environment) -> Trigger:
    """Trust a pull request only where SYSTEM_PULLREQUEST_ISFORK says that it comes from the same repository."""
    ref = environment.get("BUILD_SOURCEBRANCH", "")
    if ref.startswith("refs/pull/"):
        number = environment.get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER") or ref.split("/")[2]
        return _numbered_request(number, trusted=environment.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "false")
    return ref_trigger(ref)


def _numbered_request(number: str, *, trusted: bool) -> Trigger:
    """Return the pull request of this number; without a number nothing is known about the code."""
    if not number.isdecimal():
        return Trigger(trusted=False)
    return Trigger(pull_request=int(number), trusted=trusted)


_READERS: Mapping[str, Callable[[Environment], CiRun]] = {
    "GITLAB_CI": _read_gitlab,
    "CIRCLECI": _read_circleci,
    "BUILDKITE": _read_buildkite,
    "TF_BUILD": _read_azure,
    "JENKINS_URL": _read_jenkins,
}
"""Variable that only this CI system sets, and the reader of its other variables."""
