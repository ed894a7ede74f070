"""Read what GitHub Actions says of the run, and write back its summary, outputs and annotations.

The variables are those of docs.github.com/actions/reference/workflows-and-actions/variables.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.cache.scopes import Trigger

Environment: TypeAlias = Mapping[str, str]
"""Environment variables of this process."""

_Payload: TypeAlias = Mapping[str, Any]

# docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows: these run code of a branch or
# tag that somebody with write access pushed. Others (workflow_run, issue_comment, …) may run untrusted code.
_TRUSTED_EVENTS = frozenset({"push", "workflow_dispatch", "schedule", "repository_dispatch"})

_PULL_REQUEST_EVENTS = frozenset({"pull_request", "pull_request_target"})


@dataclass(frozen=True, kw_only=True)
class GithubRun:
    """Run of a workflow: its trigger, the default branch and the repository's address, None where unknown."""

    trigger: Trigger
    default_branch: str | None
    source: str | None = None


def default_image(environment: Environment) -> str | None:
    """Return ghcr.io/OWNER/REPO of the repository whose workflow runs, in lower case; None outside GitHub Actions."""
    if not _runs_on_github(environment):
        return None
    repository = environment.get("GITHUB_REPOSITORY")
    return f"ghcr.io/{repository.lower()}" if repository else None


def read_github_run(environment: Environment) -> GithubRun | None:
    """Return the run that this process belongs to; None outside GitHub Actions.

    An event payload that cannot be read counts as empty.
    """
    if not _runs_on_github(environment):
        return None
    event = _read_event(environment)
    trigger = github_trigger(environment, event)
    return GithubRun(
        trigger=trigger,
        default_branch=_find_default_branch(environment, event, trigger),
        source=_repository_address(environment),
    )


def github_trigger(environment: Environment, event: _Payload) -> Trigger:
    """Return what triggered a run, from its environment and the payload of its event (GITHUB_EVENT_PATH).

    A workflow_dispatch with an input `branch` counts as a run of that branch; the generated workflow has this input.
    """
    event_name = environment.get("GITHUB_EVENT_NAME", "")
    if event_name in _PULL_REQUEST_EVENTS:
        return _pull_request_trigger(event.get("pull_request") or {})
    reference = environment.get("GITHUB_REF", "")
    branch = _chosen_branch(event_name, event) or _strip_prefix(reference, "refs/heads/")
    return Trigger(
        branch=branch,
        tag=None if branch else _strip_prefix(reference, "refs/tags/"),
        trusted=event_name in _TRUSTED_EVENTS,
    )


def publish_summary(environment: Environment, summary: str, outputs: Mapping[str, str]) -> None:
    """Append to the run's step summary and to the step's outputs, where GitHub names their files."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        _append_text(path, summary)
    if path := environment.get("GITHUB_OUTPUT"):
        lines = [f"{name}={value}\n" for name, value in outputs.items()]
        _append_text(path, "".join(lines))


def workflow_command(kind: str, message: str, environment: Environment) -> str:
    """Return a workflow command (`::error file=…,line=…::…`) for a message that may begin with `file:line:`.

    In the command the file is relative to the repository, in the message to the folder that stagebake runs in.
    """
    found = re.match(r"(?P<file>[^:\s]+):(?P<line>\d+): ", message)
    if found is None:
        return f"::{kind}::{_escape_data(message)}"
    file = _escape_property(_path_in_workspace(found["file"], environment))
    return f"::{kind} file={file},line={found['line']}::{_escape_data(message)}"


def _runs_on_github(environment: Environment) -> bool:
    return environment.get("GITHUB_ACTIONS") == "true"


def _read_event(environment: Environment) -> _Payload:
    path = Path(environment.get("GITHUB_EVENT_PATH", ""))
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _find_default_branch(environment: Environment, event: _Payload, trigger: Trigger) -> str | None:
    # the payload of a schedule does not name the default branch, but a schedule runs on no other
    if environment.get("GITHUB_EVENT_NAME") == "schedule":
        return trigger.branch
    repository = event.get("repository") or {}
    branch: str | None = repository.get("default_branch")
    return branch


def _repository_address(environment: Environment) -> str | None:
    server = environment.get("GITHUB_SERVER_URL")
    repository = environment.get("GITHUB_REPOSITORY")
    return f"{server}/{repository}" if server and repository else None


def _pull_request_trigger(pull_request: _Payload) -> Trigger:
    """Return the trigger of a pull request; from another repository, or a deleted one, it is not trusted."""
    head = _repository_name(pull_request, "head")
    base = _repository_name(pull_request, "base")
    return Trigger(
        pull_request=pull_request.get("number"),
        trusted=head is not None and head == base,
    )


def _repository_name(pull_request: _Payload, side: str) -> str | None:
    repository = (pull_request.get(side) or {}).get("repo") or {}
    name: str | None = repository.get("full_name")
    return name


def _chosen_branch(event_name: str, event: _Payload) -> str | None:
    if event_name != "workflow_dispatch":
        return None
    inputs = event.get("inputs") or {}
    branch: str | None = inputs.get("branch")
    return branch


def _strip_prefix(reference: str, prefix: str) -> str | None:
    """Return the rest of a git reference that has this prefix; None for other references."""
    return reference.removeprefix(prefix) if reference.startswith(prefix) else None


def _path_in_workspace(file: str, environment: Environment) -> str:
    workspace = environment.get("GITHUB_WORKSPACE")
    if not workspace:
        return file
    path = os.path.relpath(file, workspace)
    return file if path.startswith("..") else path


def _escape_data(text: str) -> str:
    """Escape the message of a workflow command (actions/toolkit, core/src/command.ts, escapeData)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    """Escape a property of a workflow command (the same file, escapeProperty)."""
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def _append_text(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
