"""Render the GitHub workflow that builds the image and pushes it to ghcr.io, and keep its list of stages up to date.

The text is in templates/build-and-push.yml. There, actions are named by their commit, because a tag can be moved; each
commit was seen under its version in several public repositories.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from importlib.resources import files

from stagebake.dockerfile.stages import StageGraph
from stagebake.generate.template import fill_template
from stagebake.project.build_secrets import parse_secret
from stagebake.project.settings import Settings

WORKFLOW_FILE = ".github/workflows/build-and-push.yml"

# The platform of ubuntu-24.04; for any other, RUN needs an emulator
_RUNNER_PLATFORM = "linux/amd64"

_VARIABLE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# Also as a formatter leaves it: with another indentation, or over several lines
_STAGE_LIST = re.compile(r"^(?P<indent> +)options:\s*\[[^\]]*\] +# the stages$", re.MULTILINE)


def read_template() -> str:
    """Return the template of the workflow, which the package contains as a file."""
    path = files("stagebake.generate") / "templates" / "build-and-push.yml"
    return path.read_text(encoding="utf-8")


def render_workflow(
    graph: StageGraph,
    settings: Settings,
    *,
    branches: Sequence[str] = ("main",),
    install: str = "stagebake",
    full_minutes: int = 30,
    make_room: bool = False,
) -> str:
    """Return the text of the workflow; the same input gives the same bytes.

    The workflow builds pushes to `branches`, of which the first is the default branch. `install` is the requirement
    that pip installs. `full_minutes` is the expected time of a full build; GitHub cancels the job after twice that
    time, because a cancelled job saves no cache and the next one is as slow. `make_room` removes toolchains and
    images from the runner's disk, for images of more than about 15 GB.
    """
    values = {
        "branches": json.dumps(list(branches)),
        "default_branch": json.dumps(branches[0]),
        "timeout": str(2 * full_minutes),
        "folder": json.dumps(settings.folder),
        "install": f"pip install {shlex.quote(install)}",
    }
    conditions = {
        "make_room": make_room,
        "emulator": any(platform != _RUNNER_PLATFORM for platform in settings.platforms),
        "local": settings.cache == "local",
        "gha": settings.cache == "gha",
    }
    lists = {"secret": _secret_variables(settings)}
    text = fill_template(read_template(), values=values, conditions=conditions, lists=lists)
    return update_stage_list(text, graph)


def update_stage_list(text: str, graph: StageGraph) -> str:
    """Return the workflow with the stages of the Dockerfile in its list, and all other lines unchanged.

    A workflow without the list is returned unchanged.
    """
    # A stage that is called `none` or `all` cannot be chosen: these two words have another meaning here
    choices = dict.fromkeys(("none", "all", *graph.names))
    stage_list = f"options: {json.dumps(list(choices))}  # the stages"

    def replace_list(found: re.Match[str]) -> str:
        return found["indent"] + stage_list

    return _STAGE_LIST.sub(replace_list, text)


def has_lost_stage_list(text: str) -> bool:
    """Return True for a workflow that can force a stage, but whose list of stages cannot be recognized."""
    return "inputs.force" in text and not _STAGE_LIST.search(text)


def _secret_variables(settings: Settings) -> list[str]:
    """Return the environment variables that the settings take secrets from."""
    found: list[str] = []
    for secret in settings.secrets:
        name = parse_secret(secret).variable
        if _VARIABLE_NAME.fullmatch(name) and name not in found:
            found.append(name)
    return found
