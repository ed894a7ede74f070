"""Builds in the scripts of a workflow."""

from __future__ import annotations

import textwrap

import pytest

from stagebake.existing_builds.build_actions import find_workflow_builds
from stagebake.existing_builds.existing_build import ExistingBuild
from stagebake.existing_builds.github_workflow import parse_workflow


def find_builds(script: str) -> list[ExistingBuild]:
    steps = "      - env: {NAME: shop}\n        run: |\n" + textwrap.indent(script, " " * 10)
    text = f"jobs:\n  build:\n    steps:\n{steps}"
    return list(find_workflow_builds(parse_workflow("w.yml", text), "acme/shop"))


def read_inputs(script: str) -> dict[str, tuple[str, ...]]:
    (build,) = find_builds(script)
    assert build.problem == ""
    return {name: given.values for name, given in build.inputs.items()}


def test_find_docker_builds_reads_flags_in_both_forms() -> None:
    assert read_inputs(
        "docker build -f a/Dockerfile --target=app -t x/$NAME -t x/y --platform linux/amd64,linux/arm64 ."
    ) == {
        "file": ("a/Dockerfile",),
        "target": ("app",),
        "tags": ("x/shop", "x/y"),
        "platforms": ("linux/amd64", "linux/arm64"),
        "context": (".",),
    }


@pytest.mark.parametrize(
    "command",
    [
        "docker build .",
        "docker buildx build .",
        "docker image build .",
        "sudo docker build .",
        "set -e && docker build . && echo done",
        "docker build . | tee log",
        "docker \\\n  build \\\n  .",
        "# docker build old\ndocker build .",
    ],
)
def test_find_docker_builds_knows_the_forms_of_the_command(command: str) -> None:
    assert read_inputs(command) == {"context": (".",)}


def test_find_docker_builds_names_the_line_of_the_command() -> None:
    (build,) = find_builds("make\ndocker build \\\n  --push .\n")
    assert build.place == "w.yml:7"


def test_find_docker_builds_with_a_push_in_the_job_pushes() -> None:
    assert read_inputs("docker build -t a .\ndocker push a\n")["push"] == ("true",)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("docker build", "no single build context"),
        ("docker build a b", "no single build context"),
        ("docker build $DIR", "context is known only to the script"),
        ('docker build --target "$(cat stage)" .', "target is known only to the script"),
        ("docker build 'x", "the command is not readable"),
        ("docker compose build", "the services of a compose file"),
        ("docker-compose -f a.yml up --build", "the services of a compose file"),
        ("docker buildx bake app", "the targets of a bake file"),
    ],
)
def test_find_docker_builds_says_what_cannot_be_read(command: str, problem: str) -> None:
    assert any(problem in build.problem for build in find_builds(command))


@pytest.mark.parametrize(
    "command", ["docker builder prune", "docker run build", "echo docker-build", "docker buildx ls"]
)
def test_find_docker_builds_ignores_other_commands(command: str) -> None:
    assert find_builds(command) == []
