"""The workflow says what the Dockerfile says, asks for no more rights than it needs, and runs nobody else's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.generate.workflow import (
    WORKFLOW_FILE,
    has_lost_stage_list,
    read_template,
    render_workflow,
    update_stage_list,
)
from stagebake.project.settings import Settings, load_settings
from tests.support.workflows import GRAPH, SORTS

ROOT = Path(__file__).parents[3]
COMMITTED = sorted((ROOT / ".github/workflows").glob("*.yml"))
ALL_SORTS = (*SORTS.values(), *(path.read_text(encoding="utf-8") for path in COMMITTED))


def read(text: str) -> dict[str, Any]:
    """The workflow as YAML 1.1 has it, in which the key `on` is the boolean."""
    document: dict[Any, Any] = yaml.safe_load(text)
    return document | {"on": document[True]}


def steps(text: str) -> Iterator[dict[str, Any]]:
    for job in read(text)["jobs"].values():
        yield from job["steps"]


def building(text: str) -> list[dict[str, Any]]:
    """The steps of the job that builds."""
    found: list[dict[str, Any]] = read(text)["jobs"]["build"]["steps"]
    return found


def used_actions(text: str) -> list[str]:
    """Return each `uses:` of a workflow with the comment that names its version."""
    lines = [line for line in text.splitlines() if "uses:" in line]
    return [line.partition("uses: ")[2].partition("  # zizmor")[0] for line in lines]


def inputs(text: str) -> dict[str, Any]:
    found: dict[str, Any] = read(text)["on"]["workflow_dispatch"]["inputs"]
    return found


def example() -> tuple[StageGraph, Settings]:
    settings = load_settings(ROOT, {}, {})
    text = (ROOT / settings.dockerfile).read_text(encoding="utf-8")
    return parse_dockerfile(text, path=settings.dockerfile, target=settings.target), settings


def test_the_committed_workflow_is_the_one_that_is_written() -> None:
    """This repository runs what it gives to others, but for installing itself from the checkout."""
    graph, settings = example()
    assert (ROOT / WORKFLOW_FILE).read_text(encoding="utf-8") == render_workflow(graph, settings, install=".")


def test_every_session_that_is_named_is_there() -> None:
    """What the workflows and the README run with nox, this repository's noxfile has, its own or from stagebake."""
    noxfile = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    own = {node.name for node in noxfile.body if isinstance(node, ast.FunctionDef)}
    taken = {alias.name for node in noxfile.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    texts = [path.read_text(encoding="utf-8") for path in (*COMMITTED, ROOT / "README.md")]
    named = {name for text in texts for name in re.findall(r"\bnox -s (\w+)", text)}
    assert named >= {"build", "cache", "plan"}
    assert named <= own | taken


def test_it_is_read_in_a_minute() -> None:
    """The workflow has little more than a hundred lines, none longer than the code's."""
    lines = render_workflow(GRAPH, Settings()).splitlines()
    assert len(lines) <= 115
    assert max(map(len, lines)) <= 120


def test_the_triggers() -> None:
    """Pushes to chosen branches, pull requests, once a week, and by hand with the branch, pushing and a stage."""
    on = read(render_workflow(GRAPH, Settings(), branches=("trunk", "release/**")))["on"]
    assert set(on) == {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert on["push"] == {"branches": ["trunk", "release/**"]}
    assert on["pull_request"] == {"types": ["opened", "synchronize", "reopened", "closed"]}
    asked = on["workflow_dispatch"]["inputs"]
    assert {name: (field["type"], field["default"]) for name, field in asked.items()} == {
        "branch": ("string", "trunk"),
        "push": ("boolean", True),
        "force": ("choice", "none"),
    }


def test_the_choice_has_every_stage_of_the_example() -> None:
    """Nothing, everything, or one of the stages, in the order of the Dockerfile."""
    graph, settings = example()
    assert inputs(render_workflow(graph, settings))["force"]["options"] == ["none", "all", *graph.names]


def test_stages_with_words_of_yaml_for_names() -> None:
    """A stage called like a boolean, a null or one of the two other choices is a string, and there once."""
    graph = parse_dockerfile(
        "".join(f"FROM a AS {name}\n" for name in ("yes", "null", "all", "none", "v1.0")) + "FROM a\n"
    )
    options = inputs(render_workflow(graph, Settings()))["force"]["options"]
    assert options == ["none", "all", "yes", "null", "v1.0", "stage-5"]


def test_a_workflow_that_was_edited_keeps_its_edits() -> None:
    """Only the list of stages follows the Dockerfile; a workflow without it stays as it is."""
    old = render_workflow(GRAPH, Settings()).replace("ubuntu-24.04", "my-runner")
    graph = parse_dockerfile("FROM debian AS base\nFROM base AS lib\nFROM lib AS app\n")
    new = update_stage_list(old, graph)
    assert inputs(new)["force"]["options"] == ["none", "all", "base", "lib", "app"]
    assert [line for line in old.splitlines() if "options:" not in line] == [
        line for line in new.splitlines() if "options:" not in line
    ]
    assert update_stage_list(new, graph) == new
    assert not has_lost_stage_list(new)
    assert update_stage_list("on: push\n", graph) == "on: push\n"
    assert not has_lost_stage_list("on: push\n")


@pytest.mark.parametrize(
    "options",
    [
        "    options: [none, base] # the stages",
        "    options:\n      [\n        none,\n        base,\n      ] # the stages",
    ],
)
def test_a_workflow_that_was_formatted_keeps_its_shape(options: str) -> None:
    """The list is found with another indentation and over several lines, and stays where it is."""
    text = update_stage_list(f"force:\n    type: choice\n{options}\n", GRAPH)
    assert text == 'force:\n    type: choice\n    options: ["none", "all", "base", "app"]  # the stages\n'


def test_a_list_of_stages_that_cannot_be_told_is_noticed() -> None:
    """Without the comment nobody knows whose list it is."""
    assert has_lost_stage_list(render_workflow(GRAPH, Settings()).replace("  # the stages", ""))


@pytest.mark.parametrize("text", ALL_SORTS)
def test_permissions(text: str) -> None:
    """Nobody has a right by default, and only the job that pushes may write, packages and nothing else."""
    document = read(text)
    assert document["permissions"] == {}
    rights = {name: job["permissions"] for name, job in document["jobs"].items()}
    writing = {"contents": "read", "packages": "write"}
    assert rights in ({"build": writing, "clean-up": writing}, {"checks": {"contents": "read"}})


@pytest.mark.parametrize("text", ALL_SORTS)
def test_no_expression_stands_in_a_script(text: str) -> None:
    """What comes from outside reaches a shell through its environment only."""
    scripts = [step["run"] for step in steps(text) if "run" in step]
    assert scripts
    assert not [script for script in scripts if "${{" in script]


@pytest.mark.parametrize("text", ALL_SORTS)
def test_actions_are_pinned(text: str) -> None:
    """Every action is named by its commit, with the version beside it, the same in every workflow."""
    used = used_actions(text)
    pinned = set(used_actions(read_template()))
    assert used
    assert set(used) <= pinned
    assert len({action.partition("@")[0] for action in pinned}) == len(pinned)
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action) for action in used)


@pytest.mark.parametrize("text", ALL_SORTS)
def test_the_token_does_not_stay_in_the_checkout(text: str) -> None:
    """The token that checkout uses is not written into .git, where a build could copy it from."""
    checkouts = [step for step in steps(text) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("text", ALL_SORTS)
def test_every_job_ends(text: str) -> None:
    """No job runs for the six hours that GitHub would give it, and only a pull request's is cancelled by the next."""
    document = read(text)
    assert all(job["timeout-minutes"] <= 60 for job in document["jobs"].values())
    assert document["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_dependabot_does_not_push() -> None:
    """Dependabot's pull requests come from the repository itself, with code of a stranger's: they push nothing."""
    *_, build = building(render_workflow(GRAPH, Settings()))
    assert build["env"]["PUSH"].endswith(
        "|| github.event.pull_request.head.repo.full_name == github.repository "
        "&& github.event.pull_request.user.login != 'dependabot[bot]' }}"
    )


def test_a_pull_request_that_is_closed_is_cleaned_up_and_not_built() -> None:
    """One job runs for it, for the repository's own only, from the default branch: a merged one's ref may be gone."""
    jobs = read(render_workflow(GRAPH, Settings()))["jobs"]
    assert jobs["build"]["if"] == "github.event.action != 'closed'"
    assert jobs["clean-up"]["if"].startswith("github.event.action == 'closed' && ")
    assert "head.repo.full_name == github.repository" in jobs["clean-up"]["if"]
    assert jobs["clean-up"]["steps"][0]["with"]["ref"] == "${{ github.event.repository.default_branch }}"


def test_a_merge_does_not_cancel_the_push_that_it_is() -> None:
    """A merged pull request's `closed` run has the base branch for its ref: runs go by the pull request's number."""
    group = read(render_workflow(GRAPH, Settings()))["concurrency"]["group"]
    assert group == "${{ github.workflow }} ${{ github.event.number || inputs.branch || github.ref_name }}"


def test_what_the_next_job_can_take() -> None:
    """The job hands on the image's digest, its tags, and the stages that ran, from the step that knows them."""
    job = read(render_workflow(GRAPH, Settings()))["jobs"]["build"]
    step = job["steps"][-1]["id"]
    assert job["outputs"] == {key: f"${{{{ steps.{step}.outputs.{key} }}}}" for key in ("digest", "tags", "rebuilt")}


def test_twice_the_budget() -> None:
    """The job may take twice the time that a full build is planned for."""
    document = read(render_workflow(GRAPH, Settings(), full_minutes=20))
    assert document["jobs"]["build"]["timeout-minutes"] == 40


def test_an_emulator_where_it_is_needed() -> None:
    """A platform that the runner does not have brings QEMU along."""
    native, foreign = (
        [step.get("uses", "") for step in steps(render_workflow(GRAPH, Settings(platforms=platforms)))]
        for platforms in (("linux/amd64",), ("linux/amd64", "linux/arm64"))
    )
    (added,) = set(foreign) - set(native)
    assert added.startswith("docker/setup-qemu-action@")


def test_room_is_made_first() -> None:
    """Where room on the disk is asked for, it is made before anything is fetched."""
    first = next(steps(render_workflow(GRAPH, Settings(), make_room=True)))
    assert first["run"].startswith("sudo rm -rf /usr/share/dotnet ")


def test_secrets_of_the_build_come_from_the_repository() -> None:
    """A secret that the settings take from a variable is one of GitHub's; one from a file is not."""
    secrets = (
        "id=npm,env=NPM_TOKEN",
        "id=pip,src=pip.conf",
        "type=env,id=again,src=NPM_TOKEN",
        "id=PIP_TOKEN,type=env",
    )
    *_, build = building(render_workflow(GRAPH, Settings(secrets=secrets)))
    assert {key: value for key, value in build["env"].items() if "secrets." in value} == {
        "NPM_TOKEN": "${{ secrets.NPM_TOKEN }}",
        "PIP_TOKEN": "${{ secrets.PIP_TOKEN }}",
    }


def test_what_is_installed_is_one_word() -> None:
    """A requirement with signs of the shell in it reaches pip as it is."""
    text = render_workflow(GRAPH, Settings(), install="stagebake>=0.1,<1")
    installs = {step["run"] for step in steps(text) if step.get("run", "").startswith("pip ")}
    assert installs == {"pip install 'stagebake>=0.1,<1'"}


def test_caches_in_a_folder_are_kept_by_branch() -> None:
    """actions/cache gets the folder of the settings; a run restores its branch's newest, else the default branch's."""
    found = building(render_workflow(GRAPH, Settings(cache="local")))
    (keep,) = (step["with"] for step in found if step.get("uses", "").startswith("actions/cache@"))
    branch, default = keep["restore-keys"].splitlines()
    assert keep["path"] == Settings().folder
    assert keep["key"] == f"{branch}${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}"
    assert default == "stagebake-${{ github.event.repository.default_branch }}-"


def test_the_way_to_the_cache_service_is_shown_where_it_is_asked() -> None:
    """Only with cache = "gha" the run's token for GitHub's cache service goes to the steps."""
    for cache, shown in (("registry", False), ("local", False), ("gha", True)):
        text = render_workflow(GRAPH, Settings(cache=cache))
        assert ("RUNTIME_TOKEN" in text) == shown
