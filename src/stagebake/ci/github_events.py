"""Decide for each event of GitHub whose code its run builds. Pure.

docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows lists the events, and what
GITHUB_REF and GITHUB_SHA are for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from stagebake.cache.scopes import Trigger


class BuiltCode(Enum):
    """Code that a workflow builds when it checks out what GitHub proposes, or what the event names."""

    REF = "code of GITHUB_REF, written by somebody with write access"
    PULL_REQUEST = "code of the pull request in the payload"
    UNKNOWN = "code that the event does not name: it may come from a fork"


EVENTS: Mapping[str, BuiltCode] = {
    "branch_protection_rule": BuiltCode.UNKNOWN,
    "check_run": BuiltCode.UNKNOWN,
    "check_suite": BuiltCode.UNKNOWN,
    "create": BuiltCode.REF,
    "delete": BuiltCode.UNKNOWN,
    "deployment": BuiltCode.UNKNOWN,
    "deployment_status": BuiltCode.UNKNOWN,
    "discussion": BuiltCode.UNKNOWN,
    "discussion_comment": BuiltCode.UNKNOWN,
    "fork": BuiltCode.UNKNOWN,
    "gollum": BuiltCode.UNKNOWN,
    "image_version": BuiltCode.UNKNOWN,
    "issue_comment": BuiltCode.UNKNOWN,
    "issues": BuiltCode.UNKNOWN,
    "label": BuiltCode.UNKNOWN,
    "merge_group": BuiltCode.UNKNOWN,
    "milestone": BuiltCode.UNKNOWN,
    "page_build": BuiltCode.UNKNOWN,
    "public": BuiltCode.UNKNOWN,
    "pull_request": BuiltCode.PULL_REQUEST,
    "pull_request_review": BuiltCode.PULL_REQUEST,
    "pull_request_review_comment": BuiltCode.PULL_REQUEST,
    "pull_request_target": BuiltCode.PULL_REQUEST,
    "push": BuiltCode.REF,
    "registry_package": BuiltCode.UNKNOWN,
    "release": BuiltCode.REF,
    "repository_dispatch": BuiltCode.REF,
    "schedule": BuiltCode.REF,
    "status": BuiltCode.UNKNOWN,
    "watch": BuiltCode.UNKNOWN,
    "workflow_dispatch": BuiltCode.REF,
    "workflow_run": BuiltCode.UNKNOWN,
}
"""Every event that starts a workflow. `workflow_call` is not here: a called workflow sees its caller's event."""


def github_trigger(environment: Mapping[str, str], event: Mapping[str, Any]) -> Trigger:
    """Return what a run of GitHub Actions builds, from its environment and the payload (GITHUB_EVENT_PATH).

    A `workflow_dispatch` with an input `branch` builds that branch, as in the workflow that stagebake writes.
    An event that is not in the table may build anybody's code.
    """
    name = environment.get("GITHUB_EVENT_NAME", "")
    code = EVENTS.get(name, BuiltCode.UNKNOWN)
    if code is BuiltCode.UNKNOWN:
        return Trigger(trusted=False)
    if code is BuiltCode.PULL_REQUEST:
        return _pull_request_trigger(event.get("pull_request") or {})
    chosen = (event.get("inputs") or {}).get("branch") if name == "workflow_dispatch" else None
    if chosen:
        return Trigger(branch=chosen)
    return ref_trigger(environment.get("GITHUB_REF", ""))


def ref_trigger(ref: str) -> Trigger:
    """Return the branch or tag that a full ref names (`refs/heads/main`, `refs/tags/v1`)."""
    if ref.startswith("refs/heads/"):
        return Trigger(branch=ref.removeprefix("refs/heads/"))
    if ref.startswith("refs/tags/"):
        return Trigger(tag=ref.removeprefix("refs/tags/"))
    return Trigger()


def _pull_request_trigger(pull_request: Mapping[str, Any]) -> Trigger:
    """Trust a pull request only if its head is known to be in the same repository as its base."""
    head = _repository_of(pull_request, "head")
    base = _repository_of(pull_request, "base")
    return Trigger(pull_request=pull_request.get("number"), trusted=head is not None and head == base)


def _repository_of(pull_request: Mapping[str, Any], side: str) -> str | None:
    """Return OWNER/NAME of the repository on one side; None for a fork that was deleted."""
    repository = (pull_request.get(side) or {}).get("repo") or {}
    name: str | None = repository.get("full_name")
    return name
