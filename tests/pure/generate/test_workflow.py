"""Workflows: triggers, permissions, pinned actions and optional steps."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
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
from tests.support.workflows import GRAPH, WORKFLOWS

ROOT = Path(__file__).parents[3]
PLAIN = Settings()
COMMITTED = sorted((ROOT / ".github/workflows").glob("*.yml"))
ALL_WORKFLOWS = (*WORKFLOWS.values(), *(path.read_text(encoding="utf-8") for path in COMMITTED))
# Actions of this repository's own workflows that users do not get
OWN_ACTIONS = {
    "actions/attest-build-provenance",
    "actions/download-artifact",
    "actions/upload-artifact",
    "github/codeql-action/upload-sarif",
    "pypa/gh-action-pypi-publish",
}


def parse_workflow(text: str) -> dict[str, Any]:
    """Return a workflow as YAML 1.1 reads it, where the key `on` is the boolean True."""
    document: dict[Any, Any] = yaml.safe_load(text)
    return document | {"on": document[True]}


def list_steps(text: str) -> Iterator[dict[str, Any]]:
    for job in parse_workflow(text)["jobs"].values():
        yield from job["steps"]


def render_jobs(settings: Settings = PLAIN) -> dict[str, Any]:
    """Return the jobs of a workflow with these settings."""
    text = render_workflow(GRAPH, settings)
    jobs: dict[str, Any] = parse_workflow(text)["jobs"]
    return jobs


def list_build_steps(settings: Settings = PLAIN) -> list[dict[str, Any]]:
    """Return the steps of the job that builds."""
    steps: list[dict[str, Any]] = render_jobs(settings)["build"]["steps"]
    return steps


def steps_with_action(steps: Iterable[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    """Return the `with` of each step that uses an action."""
    found: list[dict[str, Any]] = []
    for step in steps:
        name = step.get("uses", "").partition("@")[0]
        if name == action:
            found.append(step.get("with", {}))
    return found


def used_actions(text: str) -> list[str]:
    """Return each `uses:` of a workflow with the comment that names its version."""
    actions: list[str] = []
    for line in text.splitlines():
        _, uses, rest = line.partition("uses: ")
        action = rest.partition("  # zizmor")[0]
        if uses:
            actions.append(action)
    return actions


def read_inputs(text: str) -> dict[str, Any]:
    found: dict[str, Any] = parse_workflow(text)["on"]["workflow_dispatch"]["inputs"]
    return found


def load_example() -> tuple[StageGraph, Settings]:
    settings = load_settings(ROOT, {}, {})
    text = (ROOT / settings.dockerfile).read_text(encoding="utf-8")
    return parse_dockerfile(text, path=settings.dockerfile, target=settings.target), settings


def other_lines(text: str) -> list[str]:
    """Return the lines without the list of stages."""
    return [line for line in text.splitlines() if "options:" not in line]


def test_render_workflow_for_this_repository_equals_the_committed_file() -> None:
    """Compare with the workflow of this repository, which installs stagebake from the checkout."""
    graph, settings = load_example()
    assert (ROOT / WORKFLOW_FILE).read_text(encoding="utf-8") == render_workflow(
        graph, settings, install="pip install ."
    )


def test_noxfile_has_every_session_that_workflows_and_readme_run() -> None:
    noxfile = ROOT / "noxfile.py"
    sessions: set[str] = set()
    for node in ast.parse(noxfile.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            sessions.add(node.name)
        if isinstance(node, ast.ImportFrom):
            sessions.update(alias.name for alias in node.names)
    named: set[str] = set()
    for path in (*COMMITTED, ROOT / "README.md"):
        text = path.read_text(encoding="utf-8")
        named.update(re.findall(r"\bnox -s (\w+)", text))
    assert named >= {"build", "cache", "plan"}
    assert named <= sessions


def test_render_workflow_is_short_and_has_short_lines() -> None:
    lines = render_workflow(GRAPH, Settings()).splitlines()
    assert len(lines) <= 140
    assert max(map(len, lines)) <= 120


def test_render_workflow_triggers_on_push_pull_request_schedule_and_dispatch() -> None:
    on = parse_workflow(render_workflow(GRAPH, Settings(), branches=("trunk", "release/**")))["on"]
    assert set(on) == {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert on["push"] == {"branches": ["trunk", "release/**"]}
    assert on["pull_request"] == {"types": ["opened", "synchronize", "reopened", "closed"]}
    asked = on["workflow_dispatch"]["inputs"]
    assert {name: (field["type"], field["default"]) for name, field in asked.items()} == {
        "branch": ("string", "trunk"),
        "push": ("boolean", True),
        "force": ("choice", "none"),
    }


def test_render_workflow_offers_every_stage_in_order() -> None:
    graph, settings = load_example()
    assert read_inputs(render_workflow(graph, settings))["force"]["options"] == ["none", "all", *graph.names]


def test_render_workflow_with_yaml_words_as_stage_names_quotes_them() -> None:
    """List a stage that is called `none` or `all` once."""
    graph = parse_dockerfile(
        "".join(f"FROM a AS {name}\n" for name in ("yes", "null", "all", "none", "v1.0")) + "FROM a\n"
    )
    options = read_inputs(render_workflow(graph, Settings()))["force"]["options"]
    assert options == ["none", "all", "yes", "null", "v1.0", "stage-5"]


def test_update_stage_list_in_an_edited_workflow_changes_only_the_list() -> None:
    old = render_workflow(GRAPH, Settings()).replace("ubuntu-24.04", "my-runner")
    graph = parse_dockerfile("FROM debian AS base\nFROM base AS lib\nFROM lib AS app\n")
    new = update_stage_list(old, graph)
    assert read_inputs(new)["force"]["options"] == ["none", "all", "base", "lib", "app"]
    assert other_lines(new) == other_lines(old)
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
def test_update_stage_list_in_a_formatted_workflow_keeps_the_indentation(options: str) -> None:
    text = update_stage_list(f"force:\n    type: choice\n{options}\n", GRAPH)
    assert text == 'force:\n    type: choice\n    options: ["none", "all", "base", "app"]  # the stages\n'


def test_has_lost_stage_list_without_the_comment_returns_true() -> None:
    assert has_lost_stage_list(render_workflow(GRAPH, Settings()).replace("  # the stages", ""))


@pytest.mark.parametrize("text", ALL_WORKFLOWS)
def test_workflows_write_only_packages_and_only_where_needed(text: str) -> None:
    document = parse_workflow(text)
    assert document["permissions"] == {}
    permissions = {name: job["permissions"] for name, job in document["jobs"].items()}
    write_packages = {"contents": "read", "packages": "write"}
    if "prune" in permissions:
        assert permissions.pop("prune") == {**write_packages, "pull-requests": "read"}
    assert permissions in (
        {"build": write_packages, "clean-up": write_packages},
        {
            "checks": {"contents": "read"},
            "doctor": {"contents": "read", "security-events": "write"},
            "buildkit": {"contents": "read"},
        },
        {
            "build": {"contents": "read"},
            "publish": {"id-token": "write", "attestations": "write", "contents": "write"},
        },
    )


@pytest.mark.parametrize("text", ALL_WORKFLOWS)
def test_workflows_have_no_expression_in_a_script(text: str) -> None:
    """Pass outside values to a shell only through its environment."""
    scripts = [step["run"] for step in list_steps(text) if "run" in step]
    assert scripts
    for script in scripts:
        assert "${{" not in script


@pytest.mark.parametrize("text", ALL_WORKFLOWS)
def test_workflows_pin_every_action_to_the_same_commit(text: str) -> None:
    used = used_actions(text)
    pinned = set(used_actions(read_template()))
    assert used
    elsewhere = {action for action in used if action.partition("@")[0] in OWN_ACTIONS}
    assert set(used) <= pinned | elsewhere
    names = {action.partition("@")[0] for action in pinned}
    assert len(names) == len(pinned)
    for action in used:
        assert re.fullmatch(r"[\w-]+(?:/[\w-]+)+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("text", ALL_WORKFLOWS)
def test_workflows_do_not_keep_the_token_in_the_checkout(text: str) -> None:
    """Keep the token out of .git, where a build could copy it from."""
    checkouts = steps_with_action(list_steps(text), "actions/checkout")
    assert checkouts
    for options in checkouts:
        assert options["persist-credentials"] is False


@pytest.mark.parametrize("text", ALL_WORKFLOWS)
def test_workflows_limit_every_job_and_cancel_only_pull_requests(text: str) -> None:
    document = parse_workflow(text)
    for job in document["jobs"].values():
        assert job["timeout-minutes"] <= 60
    concurrency = document["concurrency"]
    publishes = "publish" in document["jobs"]
    assert concurrency["cancel-in-progress"] == (not publishes and "${{ github.event_name == 'pull_request' }}")


def test_render_workflow_does_not_push_for_dependabot() -> None:
    """Push nothing: these pull requests come from the repository itself, but with code from outside."""
    *_, build = list_build_steps()
    assert build["env"]["PUSH"].endswith(
        "|| github.event.pull_request.head.repo.full_name == github.repository "
        "&& github.event.pull_request.user.login != 'dependabot[bot]' }}"
    )


def test_render_workflow_with_max_age_refreshes_weekly_only_what_is_due() -> None:
    *_, plain = list_build_steps()
    *_, build = list_build_steps(Settings(max_age={"base": 1.0}))
    assert "&& 'all' ||" in plain["env"]["FORCE"]
    assert "--refresh" not in plain["run"]
    assert "&& 'due' ||" in build["env"]["FORCE"]
    assert "due) set -- --refresh ;;" in build["run"]


def test_render_workflow_prunes_weekly_where_the_caches_are_in_a_registry() -> None:
    """Delete what no build needs on the default branch alone; other back ends delete by themselves."""
    prune = render_jobs()["prune"]
    assert prune["if"] == "github.event_name == 'schedule'"
    assert prune["steps"][-1]["run"].partition("  #")[0] == "nox -s cache -- prune --gone"
    for backend in ("local", "gha"):
        assert "prune" not in parse_workflow(render_workflow(GRAPH, Settings(cache=backend)))["jobs"]


def test_render_workflow_for_a_closed_pull_request_deletes_caches_and_builds_nothing() -> None:
    """Check out the default branch, because the branch of a merged pull request may be deleted."""
    jobs = render_jobs()
    assert jobs["build"]["if"] == "github.event.action != 'closed'"
    clean_up = jobs["clean-up"]
    assert clean_up["if"].startswith("github.event.action == 'closed' && ")
    assert "head.repo.full_name == github.repository" in clean_up["if"]
    (checkout,) = steps_with_action(clean_up["steps"], "actions/checkout")
    assert checkout["ref"] == "${{ github.event.repository.default_branch }}"


def test_render_workflow_groups_runs_by_pull_request_number() -> None:
    """Use the number: after a merge, the ref of the `closed` run is the base branch, whose push must go on."""
    group = parse_workflow(render_workflow(GRAPH, Settings()))["concurrency"]["group"]
    assert group == "${{ github.workflow }} ${{ github.event.number || inputs.branch || github.ref_name }}"


def test_render_workflow_outputs_digest_tags_and_rebuilt_stages() -> None:
    job = render_jobs()["build"]
    assert job["steps"][-1]["id"] == "build"
    assert job["outputs"] == {
        "digest": "${{ steps.build.outputs.digest }}",
        "tags": "${{ steps.build.outputs.tags }}",
        "rebuilt": "${{ steps.build.outputs.rebuilt }}",
    }


def test_render_workflow_limits_the_job_to_twice_the_full_minutes() -> None:
    document = parse_workflow(render_workflow(GRAPH, Settings(), full_minutes=20))
    assert document["jobs"]["build"]["timeout-minutes"] == 40


def test_render_workflow_with_a_foreign_platform_sets_up_qemu() -> None:
    native = render_workflow(GRAPH, Settings(platforms=("linux/amd64",)))
    foreign = render_workflow(GRAPH, Settings(platforms=("linux/amd64", "linux/arm64")))
    (added,) = set(used_actions(foreign)) - set(used_actions(native))
    assert added.startswith("docker/setup-qemu-action@")


def test_render_workflow_with_make_room_frees_the_disk_first() -> None:
    first = next(list_steps(render_workflow(GRAPH, Settings(), make_room=True)))
    assert first["run"].startswith("sudo rm -rf /usr/share/dotnet ")
    assert "docker image prune --all --force" in first["run"]


def test_render_workflow_takes_secrets_from_variables_but_not_from_files() -> None:
    secrets = (
        "id=npm,env=NPM_TOKEN",
        "id=pip,src=pip.conf",
        "type=env,id=again,src=NPM_TOKEN",
        "id=PIP_TOKEN,type=env",
    )
    *_, build = list_build_steps(Settings(secrets=secrets))
    passed = {key: value for key, value in build["env"].items() if "secrets." in value}
    assert passed == {
        "NPM_TOKEN": "${{ secrets.NPM_TOKEN }}",
        "PIP_TOKEN": "${{ secrets.PIP_TOKEN }}",
    }


def test_render_workflow_installs_by_the_command_in_each_job() -> None:
    command = 'pip install "stagebake @ file://$PWD/x.whl#sha256=0"'
    text = render_workflow(GRAPH, Settings(), install=command)
    installs = [step["run"] for step in list_steps(text) if step.get("name") == "Install stagebake"]
    assert len(installs) >= 1
    assert set(installs) == {command}


def test_render_workflow_with_local_caches_keeps_the_folder_by_branch() -> None:
    """Restore the newest entry of the branch, or else of the default branch."""
    found = list_build_steps(Settings(cache="local"))
    (keep,) = steps_with_action(found, "actions/cache")
    branch, default = keep["restore-keys"].splitlines()
    assert keep["path"] == Settings().folder
    assert keep["key"] == f"{branch}${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}"
    assert default == "stagebake-${{ github.event.repository.default_branch }}-"


def test_render_workflow_exposes_the_cache_service_only_for_gha() -> None:
    for cache in ("registry", "local", "gha"):
        text = render_workflow(GRAPH, Settings(cache=cache))
        assert ("RUNTIME_TOKEN" in text) == (cache == "gha")


BUILDER_IMAGE = re.compile(r"^image=moby/buildkit:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}$")


@pytest.mark.parametrize("text", [*WORKFLOWS.values(), (ROOT / WORKFLOW_FILE).read_text(encoding="utf-8")])
def test_workflow_names_the_builder_by_version_and_digest(text: str) -> None:
    (options,) = steps_with_action(list_steps(text), "docker/setup-buildx-action")
    assert BUILDER_IMAGE.match(options["driver-opts"].strip())


def read_renovate_managers() -> list[dict[str, Any]]:
    """Return the rules for Renovate: those of this repository, and those of the page for other repositories."""
    page = (ROOT / "docs/adopting.md").read_text(encoding="utf-8")
    texts = [
        (ROOT / ".github/renovate.json").read_text(encoding="utf-8"),
        *re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL),
    ]
    return [manager for text in texts for manager in json.loads(text)["customManagers"]]


@pytest.mark.parametrize("manager", read_renovate_managers(), ids=["repository", "page"])
def test_renovate_rule_finds_the_builder_in_the_workflow(manager: dict[str, Any]) -> None:
    """Renovate uses JavaScript's names of groups. With a digest, and without one, which Renovate then adds."""
    (file_pattern,) = (re.compile(pattern.strip("/")) for pattern in manager["managerFilePatterns"])
    (pattern,) = (pattern.replace("(?<", "(?P<") for pattern in manager["matchStrings"])
    assert file_pattern.search(WORKFLOW_FILE)
    text = (ROOT / WORKFLOW_FILE).read_text(encoding="utf-8")
    (found,) = re.finditer(pattern, text)
    assert BUILDER_IMAGE.match(found[0])
    assert found["currentDigest"] == found[0].partition("@")[2]
    (unpinned,) = re.finditer(pattern, re.sub("@sha256:[0-9a-f]+", "", text))
    assert (unpinned["currentValue"], unpinned["currentDigest"]) == (found["currentValue"], None)


def test_renovate_rule_of_this_repository_covers_every_file_with_the_builder() -> None:
    """A commit that moves BuildKit changes them all: other tests compare them."""
    (pattern,) = read_renovate_managers()[0]["managerFilePatterns"]
    folders = (ROOT / ".github", ROOT / "src", ROOT / "tests")
    paths = [path for folder in folders for path in folder.rglob("*.yml") if "image=moby/" in path.read_text("utf-8")]
    assert len(paths) > 2
    assert not [path for path in paths if not re.search(pattern.strip("/"), path.relative_to(ROOT).as_posix())]


def test_checks_run_the_engine_tests_with_several_versions_of_buildkit() -> None:
    """Name the version in the job's name; run weekly and on pull requests."""
    workflow = parse_workflow((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["buildkit"]
    assert {"schedule", "pull_request"} <= workflow["on"].keys()
    assert "matrix.buildkit" in job["name"]
    builders = [entry["builder"] for entry in job["strategy"]["matrix"]["include"]]
    assert builders[0] == ""
    assert all(builder.startswith("docker-container:moby/buildkit:") for builder in builders[1:])
