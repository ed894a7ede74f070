"""Render all variants of the workflow; `python -m tests.support.workflows FOLDER` writes them to a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.generate.workflow import render_workflow
from stagebake.project.settings import Settings

GRAPH = parse_dockerfile("FROM debian AS base\nFROM base AS app\n")
WORKFLOWS = {
    "registry": render_workflow(GRAPH, Settings()),
    "platforms": render_workflow(
        GRAPH,
        Settings(platforms=("linux/amd64", "linux/arm64"), secrets=("id=npm,env=NPM_TOKEN",)),
        branches=("trunk", "release/**"),
        make_room=True,
    ),
    "gha": render_workflow(GRAPH, Settings(cache="gha")),
    "local": render_workflow(GRAPH, Settings(cache="local"), branches=("trunk", "release/**")),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in WORKFLOWS.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
