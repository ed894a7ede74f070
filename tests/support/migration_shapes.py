"""Render what `init` takes over from the workflows in tests/pure/migration/shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.existing_builds.build_actions import find_workflow_builds
from stagebake.existing_builds.github_workflow import parse_workflow
from stagebake.generate.settings_file import render_settings_file
from stagebake.generate.workflow import render_workflow
from stagebake.migration.takeover import take_over
from stagebake.project.settings import Settings

_FOLDER = Path(__file__).parents[1] / "pure" / "migration"
GOLDEN = _FOLDER / "golden"
SHAPES = {path.stem: path for path in (_FOLDER / "shapes").glob("*.yml")}
GRAPH = parse_dockerfile("FROM debian AS base\nFROM base AS app\n")
REPOSITORY = "acme/shop"


def render_shape(shape: str) -> dict[str, str]:
    """Return the files of a takeover by name: decisions, and for a build that is found settings, override, workflow."""
    text = SHAPES[shape].read_text(encoding="utf-8")
    workflow = parse_workflow(f".github/workflows/{shape}.yml", text)
    builds = list(find_workflow_builds(workflow, REPOSITORY))
    problems = [f"{build.place}: {build.kind}: {build.problem}\n" for build in builds if build.problem]
    usable = [build for build in builds if not build.problem]
    if not usable:
        return {"decisions.txt": "".join(problems)}
    (build,) = usable
    takeover = take_over(build, f"ghcr.io/{REPOSITORY}")
    settings = replace(Settings(root=GOLDEN / "missing", image=f"ghcr.io/{REPOSITORY}"), **takeover.settings)
    branches = tuple(dict.fromkeys(("main", *takeover.parts.branches)))
    files = {
        "decisions.txt": "".join(f"{decision.format_line()}\n" for decision in takeover.decisions),
        "stagebake.toml": render_settings_file(settings)[1],
        "workflow.yml": render_workflow(GRAPH, settings, branches=branches, parts=takeover.parts),
    }
    if takeover.override_text:
        files["docker-bake.override.hcl"] = takeover.override_text
    return files
