"""What GitHub Actions says of the run (docs.github.com/actions/reference/workflows-and-actions/variables)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stagebake import scopes
from stagebake.scopes import Occasion


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a workflow."""

    occasion: Occasion
    default_branch: str | None


def image(environment: Mapping[str, str]) -> str | None:
    """ghcr.io/OWNER/REPO of the repository whose workflow runs, in lower case; None elsewhere."""
    repository = environment.get("GITHUB_REPOSITORY") if environment.get("GITHUB_ACTIONS") == "true" else None
    return f"ghcr.io/{repository.lower()}" if repository else None


def run(environment: Mapping[str, str]) -> Run | None:
    """The run that this process belongs to, None elsewhere. A payload that cannot be read counts as empty."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return None
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        event = {}
    event = event if isinstance(event, dict) else {}
    occasion = scopes.on_github(environment, event)
    if environment.get("GITHUB_EVENT_NAME") == "schedule":  # runs on the default branch only, and does not name it
        return Run(occasion=occasion, default_branch=occasion.branch)
    return Run(occasion=occasion, default_branch=(event.get("repository") or {}).get("default_branch"))
