"""What GitHub Actions says of the run (docs.github.com/actions/reference/workflows-and-actions/variables)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stagebake.cache.scopes import Trigger, github_trigger


@dataclass(frozen=True, kw_only=True)
class GithubRun:
    """One run of a workflow."""

    trigger: Trigger
    default_branch: str | None
    source: str | None = None


def default_image(environment: Mapping[str, str]) -> str | None:
    """ghcr.io/OWNER/REPO of the repository whose workflow runs, in lower case; None elsewhere."""
    repository = environment.get("GITHUB_REPOSITORY") if environment.get("GITHUB_ACTIONS") == "true" else None
    return f"ghcr.io/{repository.lower()}" if repository else None


def read_github_run(environment: Mapping[str, str]) -> GithubRun | None:
    """The run that this process belongs to, None elsewhere. A payload that cannot be read counts as empty."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return None
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        event = {}
    event = event if isinstance(event, dict) else {}
    trigger = github_trigger(environment, event)
    # a schedule runs on the default branch only, and does not name it
    scheduled = environment.get("GITHUB_EVENT_NAME") == "schedule"
    server, repository = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    return GithubRun(
        trigger=trigger,
        default_branch=trigger.branch if scheduled else (event.get("repository") or {}).get("default_branch"),
        source=f"{server}/{repository}" if server and repository else None,
    )


def publish_summary(environment: Mapping[str, str], summary: str, outputs: Mapping[str, str]) -> None:
    """Appends to the run's step summary and to the step's outputs, where GitHub asks for them."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        _append(path, summary)
    if path := environment.get("GITHUB_OUTPUT"):
        _append(path, "".join(f"{name}={value}\n" for name, value in outputs.items()))


def workflow_command(kind: str, message: str, environment: Mapping[str, str]) -> str:
    """A workflow command (`::error file=…,line=…::…`) for a message that may begin with `file:line:`.

    GitHub wants the file as the repository has it, the message as the folder that the command runs in.
    """
    found = re.match(r"(?P<file>[^:\s]+):(?P<line>\d+): ", message)
    place = f" file={_property(_in_repository(found['file'], environment))},line={found['line']}" if found else ""
    return f"::{kind}{place}::{_data(message)}"


def _in_repository(file: str, environment: Mapping[str, str]) -> str:
    workspace = environment.get("GITHUB_WORKSPACE")
    path = os.path.relpath(file, workspace) if workspace else file
    return file if path.startswith("..") else path


def _data(text: str) -> str:
    """actions/toolkit, core/src/command.ts, escapeData"""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
