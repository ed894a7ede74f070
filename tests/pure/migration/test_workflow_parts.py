"""Triggers, runner, permissions and steps around an existing build."""

from __future__ import annotations

import textwrap

import pytest
import yaml

from stagebake.existing_builds.build_actions import find_workflow_builds
from stagebake.existing_builds.existing_build import ExistingBuild
from stagebake.existing_builds.github_workflow import parse_workflow
from stagebake.migration.decisions import TakeoverDraft
from stagebake.migration.workflow_parts import WorkflowParts, decide_workflow

BUILD = "- uses: docker/build-push-action@v6\n  id: image\n"


def decide(
    *, on: str = "push:\n  branches: [main]\n", job: str = "", before: str = "", after: str = "", top: str = ""
) -> tuple[WorkflowParts, TakeoverDraft]:
    steps = textwrap.indent(f"{before}{BUILD}{after}", "      ")
    text = f"on:\n{textwrap.indent(on, '  ')}{top}jobs:\n  build:\n{textwrap.indent(job, '    ')}    steps:\n{steps}"
    (build,) = find_workflow_builds(parse_workflow("w.yml", text), "acme/shop")
    draft = TakeoverDraft()
    return decide_workflow(draft, build, None), draft


@pytest.mark.parametrize(
    ("on", "branches"),
    [
        ("push:\n  branches: [main, 'v*']\n", ("main", "v*")),
        ("push:\n  branches-ignore: [wip]\n", ("**", "!wip")),
        ("push:\n  paths: [src]\n", ("**",)),
        ("push:\n  tags: ['v*']\n", ()),
        ("workflow_dispatch:\n", ()),
    ],
)
def test_decide_workflow_takes_the_branches_whose_pushes_are_built(on: str, branches: tuple[str, ...]) -> None:
    assert decide(on=on)[0].branches == branches


def test_decide_workflow_takes_filters_schedules_inputs_and_other_events() -> None:
    parts, _ = decide(
        on="push:\n  tags: ['v*']\n  paths: ['it''s']\n"
        "pull_request:\n  branches: [main]\n  types: [opened]\n"
        "schedule:\n  - cron: '1 2 * * *'\n"
        "workflow_dispatch:\n  inputs:\n    push: {default: true}\n    level:\n      type: string\n"
        "release:\n  types: [published]\n"
        "merge_group:\n"
    )
    assert parts.push_filters == "tags:\n  - 'v*'\npaths:\n  - 'it''s'\n"
    assert parts.pull_request_filters == "branches:\n  - 'main'\n"
    assert parts.crons == ("1 2 * * *",)
    assert parts.inputs == "level:\n  type: string\n"
    assert parts.triggers == "release:\n  types: [published]\nmerge_group:\n"
    assert parts.builds_pull_requests


def test_decide_workflow_without_pull_requests_builds_none() -> None:
    assert not decide()[0].builds_pull_requests


@pytest.mark.parametrize("event", ["pull_request_target", "workflow_run", "issue_comment"])
def test_decide_workflow_leaves_events_that_build_a_strangers_code(event: str) -> None:
    parts, draft = decide(on=f"push:\n{event}:\n  types: [x]\n")
    assert parts.triggers == ""
    assert any(
        decision.subject == f"on: {event}" and decision.outcome.value == "left out" for decision in draft.decisions
    )


@pytest.mark.parametrize(
    ("job", "runner"),
    [
        ("runs-on: ubuntu-latest\n", "ubuntu-24.04"),
        ("runs-on: ubuntu-24.04-arm\n", "ubuntu-24.04-arm"),
        ("runs-on: [self-hosted, linux]\n", "[self-hosted, linux]"),
        ("runs-on: ${{ inputs.runner }}\n", "ubuntu-24.04"),
        ("runs-on:\n  group: big\n", "ubuntu-24.04"),
    ],
)
def test_decide_workflow_takes_the_runner(job: str, runner: str) -> None:
    assert decide(job=job)[0].runner == runner


def test_decide_workflow_takes_permissions_that_the_job_lacks_and_never_write_to_contents() -> None:
    parts, draft = decide(job="permissions:\n  contents: write\n  packages: write\n  id-token: write\n")
    assert parts.permissions == "id-token: write\n"
    assert any(
        "contents: write" in decision.subject and decision.outcome.value == "left out" for decision in draft.decisions
    )


def test_decide_workflow_keeps_other_steps_before_and_after_the_build() -> None:
    parts, _ = decide(
        before="- uses: actions/checkout@v4\n  with: {lfs: true, ref: x}\n"
        "- uses: docker/setup-buildx-action@v3\n- run: make\n",
        after="- run: sign ${{ steps.image.outputs.digest }}\n",
    )
    assert parts.checkout == "lfs: 'true'\n"
    assert parts.steps_before == "- run: make\n"
    assert parts.steps_after == "- run: sign ${{ steps.build.outputs.digest }}\n"


@pytest.mark.parametrize(
    ("login", "steps", "ghcr"),
    [
        ("registry: ghcr.io\n    password: ${{ secrets.GITHUB_TOKEN }}\n", 0, True),
        ("password: ${{ secrets.DOCKERHUB_TOKEN }}\n", 1, False),
    ],
)
def test_decide_workflow_keeps_logins_elsewhere(login: str, steps: int, ghcr: bool) -> None:
    parts, _ = decide(before=f"- uses: docker/login-action@v3\n  with:\n    {login}")
    assert parts.steps_before.count("docker/login-action") == steps
    assert parts.log_in_to_ghcr is ghcr


@pytest.mark.parametrize(
    "step",
    [
        "- uses: actions/cache@v4\n  with: {path: /tmp/.buildx-cache}\n",
        "- run: |\n    rm -rf /tmp/.buildx-cache\n    mv /tmp/.buildx-cache-new /tmp/.buildx-cache\n",
        "- run: |\n    docker tag a b\n    docker push b\n",
        "- uses: docker/metadata-action@v5\n  id: unused\n",
    ],
)
def test_decide_workflow_drops_steps_that_stagebake_replaces(step: str) -> None:
    parts, _ = decide(before=step)
    assert parts.steps_before == ""


@pytest.mark.parametrize("step", ["- run: docker push a && ./notify\n", "- run: docker run a\n"])
def test_decide_workflow_keeps_scripts_that_do_more_than_build(step: str) -> None:
    assert decide(after=step)[0].steps_after == step


def test_decide_workflow_says_where_a_step_refers_to_one_that_is_gone() -> None:
    _, draft = decide(
        before="- uses: docker/setup-buildx-action@v3\n  id: builder\n",
        after="- run: echo ${{ steps.builder.outputs.name }}\n",
    )
    assert any("refers to the step builder" in decision.explanation for decision in draft.decisions)


def test_decide_workflow_keeps_the_environment_and_names_other_jobs() -> None:
    parts, draft = decide(
        top="env:\n  A: 1\n  B: workflow\n", job='env: {B: job, C: "x\\ny"}\nenvironment: production\nneeds: test\n'
    )
    assert parts.environment == "A: '1'\nB: 'job'\nC: \"x\\ny\"\n"
    assert parts.job == "environment: production\n"
    assert any(decision.subject == "job needs" for decision in draft.decisions)


def test_decide_workflow_of_a_build_outside_of_workflows_has_only_its_variables() -> None:
    draft = TakeoverDraft(variables={"STAGEBAKE_ARGS": "A='1'"})
    parts = decide_workflow(draft, ExistingBuild(place="c:1", kind="x", inputs={}), None)
    assert parts == WorkflowParts(variables={"STAGEBAKE_ARGS": "A='1'"})


@pytest.mark.parametrize("body", ["{types: [published]}", "\n    types: [published]"], ids=["flow", "block"])
def test_decide_workflow_takes_events_and_inputs_in_both_styles_of_yaml(body: str) -> None:
    parts, _ = decide(on=f"release: {body}\nworkflow_dispatch:\n  inputs:\n    level: {{type: string}}\n")
    assert yaml.safe_load(parts.triggers) == {"release": {"types": ["published"]}}
    assert yaml.safe_load(parts.inputs) == {"level": {"type": "string"}}
