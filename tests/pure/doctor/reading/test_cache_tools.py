"""Know where tools keep their caches."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.reading.cache_tools import (
    CACHE_TOOLS,
    find_cache_folders,
    find_tool_commands,
    root_image,
    runs_as_root,
)

TOOLS = {tool.name: tool for tool in CACHE_TOOLS}


@pytest.mark.parametrize(
    ("tool", "lines", "folders"),
    [
        ("npm", "", ("/root/.npm",)),
        ("npm", "ENV npm_config_cache=/c", ("/c",)),
        ("pip", "ENV PIP_NO_CACHE_DIR=1", ()),
        ("pip", "ENV PIP_NO_CACHE_DIR=0", ("/root/.cache/pip",)),
        ("uv", "ARG UV_CACHE_DIR=/u/", ("/u",)),
        ("go", "ENV GOPATH=$HOME/go", ()),
        ("pnpm", 'ENV PNPM_HOME="/pnpm"', ("/pnpm/store",)),
    ],
)
def test_find_cache_folders_variables_move_or_disable_them(tool: str, lines: str, folders: tuple[str, ...]) -> None:
    graph = parse_dockerfile(f"FROM a\n{lines}\nRUN x\n")
    assert find_cache_folders(TOOLS[tool], graph, graph.final, 3) == folders


@pytest.mark.parametrize(
    ("tool", "command", "used"),
    [
        ("yarn", "yarn", True),
        ("yarn", "yarn build", False),
        ("npm", "npm run install-hooks", False),
        ("npm", "npm i -g pnpm", True),
        ("go", "go version", False),
        ("cargo", "cargo +nightly build", True),
        ("cargo", "cargo --version", False),
        ("pip", "python -m pip install x", True),
        ("mvn", "./mvnw -B package", True),
        ("gradle", "./gradlew", True),
        ("gradle", "chmod +x ./gradlew", False),
        ("cargo", "just-cargo fetch", True),
        ("gradle", "./gradlew :app:installDist --no-daemon", True),
    ],
)
def test_find_tool_commands_knows_what_uses_the_cache(tool: str, command: str, used: bool) -> None:
    graph = parse_dockerfile(f"FROM a\nRUN {command}\n")
    assert bool(find_tool_commands(TOOLS[tool], graph.final.instructions[1])) == used


def test_root_image_and_user_are_those_of_the_stages_below() -> None:
    graph = parse_dockerfile("FROM golang:1 AS a\nUSER app\nFROM a\nRUN x\nUSER 0:0\nRUN y\n")
    assert root_image(graph, graph.final) == "golang:1"
    assert [runs_as_root(graph, graph.final, line) for line in (4, 6)] == [False, True]
