"""Read what GitHub Actions says of the run, and write back its summary, outputs and annotations.

The variables are those of docs.github.com/actions/reference/workflows-and-actions/variables.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from stagebake.cache.scopes import Trigger
from stagebake.ci.ci_run import CiRun
from stagebake.ci.github_events import github_trigger
from stagebake.naming.image_name import DefaultImage, github_image

Environment: TypeAlias = Mapping[str, str]
"""Environment variables of this process."""

_Payload: TypeAlias = Mapping[str, Any]

GITHUB_ACTIONS = "GitHub Actions"


def read_github_run(environment: Environment) -> CiRun | None:
    """Return the run that this process belongs to; None outside GitHub Actions.

    An event payload that cannot be read counts as empty.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return None
    event = _read_event(environment)
    trigger = github_trigger(environment, event)
    return CiRun(
        system=GITHUB_ACTIONS,
        trigger=trigger,
        default_branch=_find_default_branch(environment, event, trigger),
        revision=_find_revision(environment, trigger),
        source=_repository_address(environment),
        image=_find_image(environment),
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


def _find_revision(environment: Environment, trigger: Trigger) -> str | None:
    """Return GITHUB_SHA where it is a commit of the code that is built.

    It is not for an event that builds code of another ref, nor for a branch that the input `branch` names.
    """
    ref = environment.get("GITHUB_REF", "")
    of_ref = ref in (f"refs/heads/{trigger.branch}", f"refs/tags/{trigger.tag}")
    return environment.get("GITHUB_SHA") or None if of_ref else None


def _find_image(environment: Environment) -> DefaultImage | None:
    """Name the image of GITHUB_REPOSITORY at the registry that belongs to GITHUB_SERVER_URL."""
    repository = environment.get("GITHUB_REPOSITORY")
    if not repository:
        return None
    server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
    host = urlsplit(server).hostname or "github.com"
    return github_image(host, repository)


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
    with Path(path).open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)
