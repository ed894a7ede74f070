"""Take over an existing build as settings, override file and workflow. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stagebake.existing_builds.existing_build import ExistingBuild
from stagebake.migration.build_inputs import decide_inputs
from stagebake.migration.decisions import LineDecision, TakeoverDraft
from stagebake.migration.image_names import decide_names
from stagebake.migration.workflow_parts import WorkflowParts, decide_workflow


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """What stagebake takes over from a build.

    `settings` has values of the settings' own types, `override_text` is that of docker-bake.override.hcl, empty where
    none is needed. `decisions` are in the order of the lines.
    """

    place: str = ""
    kind: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    override_text: str = ""
    parts: WorkflowParts = field(default_factory=WorkflowParts)
    decisions: tuple[LineDecision, ...] = ()


def take_over(build: ExistingBuild, default_image: str | None) -> Takeover:
    """Return what stagebake takes over from a build. `default_image` is the image name that the repository gives."""
    draft = TakeoverDraft()
    decide_inputs(draft, build)
    metadata = decide_names(draft, build, default_image)
    parts = decide_workflow(draft, build, metadata)
    return Takeover(
        place=build.place,
        kind=build.kind,
        settings=draft.settings,
        override_text=_render_override(draft.override, build.place),
        parts=parts,
        decisions=tuple(sorted(draft.decisions, key=_line_of)),
    )


def _line_of(decision: LineDecision) -> tuple[str, int]:
    path, _, line = decision.place.rpartition(":")
    return path, int(line)


def _render_override(attributes: Mapping[str, str], place: str) -> str:
    if not attributes:
        return ""
    lines = [f"# From {place.rpartition(':')[0]}; yours to edit. stagebake lays this file over docker-bake.hcl."]
    lines.append('target "_common" {')
    lines += [f"  {name} = {value}" for name, value in attributes.items()]
    return "\n".join([*lines, "}", ""])
