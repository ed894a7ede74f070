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


def run(environment: Mapping[str, str]) -> Run | None:
    """The run that this process belongs to, None elsewhere. A payload that cannot be read counts as empty."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return None
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        event = {}
    event = event if isinstance(event, dict) else {}
    repository = event.get("repository") or {}
    return Run(occasion=scopes.on_github(environment, event), default_branch=repository.get("default_branch"))
