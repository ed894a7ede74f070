"""Render the GitHub workflow that builds the image and pushes it to ghcr.io, and keep its list of stages up to date.

The text is in templates/build-and-push.yml. There, actions are named by their commit and BuildKit by its
digest, because a tag can be moved; each was seen under its version in several public repositories.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from importlib.resources import files

from stagebake.dockerfile.stages import StageGraph
from stagebake.generate.template import fill_template
from stagebake.migration.image_names import MetadataUse
from stagebake.migration.workflow_parts import WorkflowParts
from stagebake.project.build_secrets import parse_secret
from stagebake.project.settings import Settings

WORKFLOW_FILE = ".github/workflows/build-and-push.yml"

# The platform of ubuntu-24.04; for any other, RUN needs an emulator
_RUNNER_PLATFORM = "linux/amd64"

# Where the template says which events push, and events of trusted code that a workflow may have besides
_PUSH_EVENT = "github.event_name == 'push' || "
_TRUSTED_EVENTS = ("release", "repository_dispatch", "workflow_call")

_NO_PARTS = WorkflowParts()

# What the variable FORCE holds: a scheduled run refreshes the stages that are due, or all where no age is set
_FORCE = "${{ github.event_name == 'schedule' && 'SCHEDULED' || inputs.force || 'none' }}"

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
    install: str = "pip install stagebake",
    full_minutes: int = 30,
    make_room: bool = False,
    parts: WorkflowParts = _NO_PARTS,
) -> str:
    """Return the text of the workflow; the same input gives the same bytes.

    The workflow builds pushes to `branches`, of which the first is the default branch. `install` is the command
    that installs stagebake. `full_minutes` is the expected time of a full build; GitHub cancels the job after twice
    that time, because a cancelled job saves no cache and the next one is as slow. `make_room` removes toolchains and
    images from the runner's disk, for images of more than about 15 GB. `parts` are of the workflow that this one
    replaces.
    """
    values = {
        "branches": json.dumps(list(branches)),
        "default_branch": json.dumps(branches[0]),
        "timeout": str(2 * full_minutes),
        "runner": parts.runner,
        "folder": json.dumps(settings.folder),
        "install": install,
        "force": _FORCE.replace("SCHEDULED", "due" if settings.max_age else "all"),
        **_metadata_outputs(parts.metadata),
    }
    secrets = [name for name in _secret_variables(settings) if name not in parts.variables]
    text = fill_template(
        read_template(),
        values=values,
        conditions={"make_room": make_room, **_conditions_of(settings, parts)},
        lists={"secret": secrets},
        texts=_texts_of(parts),
    )
    text = _add_push_events(text, parts.triggers)
    return f"{update_stage_list(text, graph).rstrip()}\n"


def _conditions_of(settings: Settings, parts: WorkflowParts) -> dict[str, bool]:
    """Return the conditions of the template's optional lines."""
    return {
        "emulator": any(platform != _RUNNER_PLATFORM for platform in settings.platforms),
        "local": settings.cache == "local",
        "gha": settings.cache == "gha",
        "ghcr": parts.log_in_to_ghcr,
        "weekly": not parts.crons,
        "metadata": parts.metadata is not None,
        "pull_request": parts.builds_pull_requests,
        "max_age": bool(settings.max_age),
        "prune": settings.cache == "registry" and parts.log_in_to_ghcr,
    }


def _metadata_outputs(metadata: MetadataUse | None) -> dict[str, str]:
    """Return the outputs of docker/metadata-action that name files; an empty text for tags that stagebake makes."""
    name = metadata.id if metadata else "meta"
    has_tags = metadata is not None and metadata.tags
    return {
        "tags_file": f"${{{{ steps.{name}.outputs.bake-file-tags }}}}" if has_tags else '""',
        "labels_file": f"${{{{ steps.{name}.outputs.bake-file-labels }}}}",
    }


def _texts_of(parts: WorkflowParts) -> dict[str, str]:
    """Return the texts of several lines that the template inserts."""
    crons = "".join(f"- cron: {json.dumps(cron)}\n" for cron in parts.crons)
    variables = "".join(f"{name}: {_quote_scalar(value)}\n" for name, value in parts.variables.items())
    environment = f"env:\n{textwrap.indent(parts.environment, '  ')}\n" if parts.environment else ""
    return {
        "push_filters": parts.push_filters,
        "pull_request_filters": parts.pull_request_filters,
        "crons": crons,
        "triggers": parts.triggers,
        "inputs": parts.inputs,
        "environment": environment,
        "job": parts.job,
        "permissions": parts.permissions,
        "checkout": parts.checkout,
        "steps_before": parts.steps_before,
        "steps_after": parts.steps_after,
        "variables": variables,
    }


def _quote_scalar(text: str) -> str:
    """Return a YAML scalar in double quotes, or bare where it is one expression."""
    if text.startswith("${{") and text.endswith("}}") and text.count("${{") == 1:
        return text
    return json.dumps(text, ensure_ascii=False)


def _add_push_events(text: str, triggers: str) -> str:
    """Return the workflow so that runs of further trusted events push, too."""
    events = [event for event in _TRUSTED_EVENTS if re.search(rf"^{event}:", triggers, re.MULTILINE)]
    more = "".join(f"github.event_name == '{event}' || " for event in events)
    return text.replace(_PUSH_EVENT, _PUSH_EVENT + more)


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
