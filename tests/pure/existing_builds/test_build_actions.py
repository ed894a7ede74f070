"""Steps of a workflow that build an image."""

from __future__ import annotations

import pytest

from stagebake.existing_builds.build_actions import find_workflow_builds, split_input
from stagebake.existing_builds.existing_build import ExistingBuild
from stagebake.existing_builds.github_workflow import parse_workflow
from stagebake.existing_builds.yaml_nodes import YamlNode


def find_builds(steps: str, job: str = "") -> list[ExistingBuild]:
    text = f"env:\n  IMAGE: ghcr.io/acme/shop\njobs:\n  build:\n{job}    steps:\n{steps}"
    return list(find_workflow_builds(parse_workflow("w.yml", text), "acme/shop"))


def test_find_workflow_builds_reads_inputs_with_their_lines_and_known_variables() -> None:
    (build,) = find_builds(
        "      - uses: docker/build-push-action@v6\n"
        "        with:\n"
        "          tags: |\n"
        "            ${{ env.IMAGE }}:1,${{ env.IMAGE }}:2\n"
        "          build-args: |\n"
        "            A=1,2\n"
        "            B=3\n"
        "          target: ''\n"
    )
    assert (build.place, build.kind, build.problem) == ("w.yml:6", "docker/build-push-action", "")
    assert build.list_values("tags") == ("ghcr.io/acme/shop:1", "ghcr.io/acme/shop:2")
    assert build.list_values("build-args") == ("A=1,2", "B=3")
    assert build.inputs["build-args"].place == "w.yml:10"
    assert build.find_value("target", "last") == "last"


def test_find_workflow_builds_of_a_matrix_names_its_line() -> None:
    (build,) = find_builds(
        "      - uses: docker/build-push-action@v6\n        with: {context: '${{ matrix.app }}'}\n",
        "    strategy:\n      matrix:\n        app: [a, b]\n",
    )
    assert build.problem.startswith("the matrix in line 7 makes several builds")


def test_find_workflow_builds_of_a_matrix_that_the_build_does_not_use_is_read() -> None:
    (build,) = find_builds(
        "      - uses: docker/build-push-action@v6\n", "    strategy:\n      matrix:\n        app: [a, b]\n"
    )
    assert build.problem == ""


def test_find_workflow_builds_of_a_bake_action_says_how_to_take_its_file_over() -> None:
    (build,) = find_builds("      - uses: docker/bake-action@v6\n")
    assert "--from" in build.problem


@pytest.mark.parametrize("called", ["acme/workflows/.github/workflows/docker.yml@v1", "./.github/workflows/image.yml"])
def test_find_workflow_builds_names_a_called_workflow_about_images(called: str) -> None:
    workflow = parse_workflow("w.yml", f"jobs:\n  x:\n    uses: {called}\n")
    (build,) = find_workflow_builds(workflow, None)
    assert (build.place, called in build.problem) == ("w.yml:3", True)


def test_find_workflow_builds_without_a_build_yields_nothing() -> None:
    assert find_builds("      - run: make test\n      - uses: actions/checkout@v7\n") == []


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("tags", "a, b\nc", ["a", "b", "c"]),
        ("tags", "\n\n", []),
        ("build-args", "A=x,y\nB=z", ["A=x,y", "B=z"]),
        ("secrets", '"a=1,2"\nb=3', ["a=1,2", "b=3"]),
        ("target", " app ", ["app"]),
    ],
)
def test_split_input_reads_lists_as_the_action_does(name: str, text: str, values: list[str]) -> None:
    assert split_input(name, YamlNode(line=1, end=1, column=0, text=text)) == values
