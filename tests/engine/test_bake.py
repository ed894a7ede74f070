"""Build the generated bake file with `docker buildx bake`, without stagebake."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.shapes import FIVE, SHAPES, STAGES

TARGETS = {
    "one-stage": 1,
    "eight-with-a-diamond": 8,
    "dots-and-heredocs": 3,
    "copy-from-an-image": 2,
    "numbers-and-no-names": 2,
    "mixed-case": 3,
    "arguments": 2,
    "mounts": 3,
    "links": 3,
}

# Variables under which `docker buildx bake` would read other files, show other output, or build nothing
HOSTILE = {
    "BUILDX_BAKE_FILE": "nowhere.hcl",
    "BUILDX_BAKE_FILE_RELATIVE_PATHS": "1",
    "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "1",
    "BUILDX_METADATA_PROVENANCE": "max",
    "BUILDX_METADATA_WARNINGS": "1",
    "BUILDX_NO_DEFAULT_LOAD": "1",
    "BUILDX_EXPERIMENTAL": "1",
    "BUILDX_GIT_LABELS": "1",
    "BUILDKIT_HOST": "tcp://127.0.0.1:1",
    "BUILDKIT_PROGRESS": "plain",
    "BUILDKIT_SYNTAX": "127.0.0.1:1/frontend:1",
    "COMPOSE_FILE": "nowhere.yaml",
    "DEBUG": "1",
    "DOCKER_BUILDKIT": "0",
    "DOCKER_DEFAULT_PLATFORM": "linux/s390x",
    "CACHE": "127.0.0.1:1/cache:1",
    "SAVE": "1",
    "TAGS": "other",
}

OVERRIDE = """\
target "runtime" {
  labels = { "test.stagebake.team" = "override" }
  args = { WHO = "override" }
}
"""

SERVICES = 'services:\n  db:\n    image: db\n    build: db\n  runtime:\n    build: {context: ., args: {DEBUG: "1"}}\n'
TARGETS_BESIDE = '{"group": {"default": {"targets": ["other"]}}, "target": {"other": {}, "runtime": {"tags": ["x:y"]}}}'
OTHER_BAKE_FILES = {
    "compose.yaml": SERVICES,
    "docker-compose.yml": SERVICES,
    "docker-compose.override.yml": SERVICES,
    "docker-bake.json": TARGETS_BESIDE,
    "docker-bake.override.json": TARGETS_BESIDE,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_bake_accepts_every_generated_file(repository: Project, shape: str) -> None:
    """Print each file with `docker buildx bake --print`: the final stage and all named stages are targets."""
    repository.write(SHAPES[shape])
    outcome = repository.stagebake("generate", **repository.environment())
    assert outcome.exit_code == 0, outcome.stderr
    assert len(printed(repository)) == TARGETS[shape]


@pytest.mark.parametrize("name", OTHER_BAKE_FILES)
def test_bake_by_the_header_command_ignores_other_files(repository: Project, name: str) -> None:
    """Run the command that the header of the generated file names, with a file beside it that bake reads by itself."""
    repository.write(FIVE)
    assert repository.stagebake("generate", **repository.environment()).exit_code == 0
    header = (repository.folder / "docker-bake.hcl").read_text(encoding="utf-8")
    command = re.search(r"docker buildx bake (?P<arguments>.+?)  +build the final stage", header)
    assert command
    arguments = (*command["arguments"].split(), "--print")
    alone = json.loads(repository.bake(*arguments)[0])
    repository.write({name: OTHER_BAKE_FILES[name]})
    assert json.loads(repository.bake(*arguments)[0]) == alone


def printed(repository: Project, **environment: str) -> dict[str, Any]:
    """Return the targets of all stages as bake reads them, each with the place where it saves its cache."""
    document: dict[str, Any] = json.loads(repository.bake("--print", "stages", SAVE="1", **environment)[0])
    return dict(document["target"])


@pytest.mark.parametrize("cache", ["registry", "local", "gha"])
def test_bake_without_an_image_name_has_no_tags_and_no_caches(repository: Project, cache: str) -> None:
    """Build a file that has no image name; with the variable IMAGE it has tags and caches."""
    repository.write(FIVE)
    environment = {key: value for key, value in repository.environment().items() if key != "STAGEBAKE_IMAGE"}
    assert repository.stagebake("generate", STAGEBAKE_CACHE=cache, **environment).exit_code == 0
    needing_a_name = {"tags", "cache-from", "cache-to"}
    assert not any(needing_a_name & target.keys() for target in printed(repository).values())
    named = printed(repository, IMAGE="ghcr.io/o/n")
    assert needing_a_name <= named["runtime"].keys()
    assert all({"cache-from", "cache-to"} <= target.keys() for target in named.values())
    repository.bake()


def test_bake_tags_the_image_as_the_settings_do(repository: Project) -> None:
    """Take the default of TAGS from the image name in the settings; without a tag there it is `latest`."""
    repository.write(FIVE)
    for image, given, tags in (
        ("ghcr.io/o/n", {}, ["ghcr.io/o/n:latest"]),
        ("ghcr.io/o/n:1.2", {}, ["ghcr.io/o/n:1.2"]),
        ("ghcr.io/o/n:1.2", {"TAGS": "a,b"}, ["ghcr.io/o/n:a", "ghcr.io/o/n:b"]),
    ):
        assert repository.stagebake("generate", f"--image={image}").exit_code == 0
        assert printed(repository, **given)["runtime"]["tags"] == tags


def test_bake_on_an_empty_engine_restores_the_pushed_image(shipped: Project) -> None:
    """Restore the pushed image without stagebake; no step runs."""
    shipped.stagebake("generate")
    _, progress = shipped.bake()
    assert shipped.loaded() == shipped.pushed()
    assert f"importing cache manifest from {shipped.image}:cache" in progress


def test_bake_with_save_writes_a_cache_that_stagebake_restores(five: Project) -> None:
    """Save one stage with SAVE=1 in its own ref; stagebake restores the stage from it."""
    five.stagebake("generate")
    five.bake("python-deps", SAVE="1")
    assert five.tags() == {"cache-python-deps"}

    five.engine.empty()
    outcome = five.build("--push")
    assert "python-deps" in outcome.stages("restored")
    assert "node-deps" in outcome.ran


def test_bake_without_save_writes_nothing(five: Project) -> None:
    """Build all stages with plain bake; no ref appears."""
    five.stagebake("generate")
    five.bake("stages")
    assert five.tags() == set()
    assert set(five.loaded()) == set(STAGES)


def test_build_uses_bake_attributes_that_are_no_settings(project: Project) -> None:
    """Set them in the override file; bake is given the permission that an entitlement needs."""
    shared_memory = "df -m /dev/shm | grep -c ' 96 ' > /shm.txt"
    steps = f"RUN grep -c special /etc/hosts > /hosts.txt; ulimit -n > /files.txt; {shared_memory}"
    override = """\
target "_common" {
  extra-hosts = { special = "10.1.2.3" }
  ulimits = ["nofile=1234:1234"]
  shm-size = "96m"
  entitlements = ["network.host"]
}
"""
    project.write({**FIVE, "Dockerfile": f"{FIVE['Dockerfile']}{steps}\n", "docker-bake.override.hcl": override})
    project.settings()
    project.commit()
    project.build("--push")
    pushed = project.pushed()
    assert (pushed["hosts"], pushed["files"], pushed["shm"]) == ("1", "1234", "1")


def test_build_in_a_hostile_environment_is_the_same_build(two: Project) -> None:
    """Set what would change a bake call, and then restore all in an ordinary environment."""
    before = two.pushed()
    push = ("--push", f"--image={two.image}:latest")
    outcome = two.build(*push, **HOSTILE)
    assert outcome.ran == {"image"}
    assert outcome.report["digest"]
    assert all(outcome.report["versions"].values())
    assert two.tags() >= {"latest", "cache-base", "cache-image"}
    after = two.pushed()
    assert (after["base"], after["image"] != before["image"]) == (before["base"], True)
    assert two.build(*push).ran == set()
    assert two.pushed() == after


def test_build_with_a_source_policy_obeys_it_and_plan_says_unknown_where_it_replaces(two: Project) -> None:
    """Forbid the base image: BuildKit refuses it. Replace another image: the plan promises nothing."""
    selector = {"identifier": "docker-image://*"}
    policy = {"rules": [{"action": "DENY", "selector": selector}]}
    two.write({"policy.json": json.dumps(policy)})
    variables = {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": "policy.json"}
    refused = two.stagebake("build", **variables)
    assert refused.exit_code == 1
    assert "denied by policy" in refused.stderr

    updates = {"identifier": "docker-image://127.0.0.1:1/tools:1"}
    policy = {
        "rules": [{"action": "CONVERT", "selector": {"identifier": "docker-image://nowhere"}, "updates": updates}]
    }
    two.write({"policy.json": json.dumps(policy)})
    plan = json.loads(two.stagebake("plan", "--json", **variables).stdout)
    assert [stage["expected"] for stage in plan["stages"]] == ["unknown", "rebuild"]  # a file of `image` changed
    assert two.stagebake("build", **variables).exit_code == 0


def test_generate_keeps_the_override_file_and_builds_use_it(project: Project) -> None:
    """Keep docker-bake.override.hcl as it is; bake and stagebake lay it over the generated file."""
    dockerfile = f"{FIVE['Dockerfile']}ARG WHO=nobody\nRUN echo $WHO > /who.txt\n"
    project.write({**FIVE, "Dockerfile": dockerfile, "docker-bake.override.hcl": OVERRIDE})
    project.settings()
    project.stagebake("generate")
    assert (project.folder / "docker-bake.override.hcl").read_text(encoding="utf-8") == OVERRIDE

    project.build("--push")
    assert project.pushed()["who"] == "override"
    labels = project.registry.config(project.name, "latest")["config"]["Labels"]
    assert labels == {"test.stagebake.team": "override"}

    before = project.pushed()
    project.engine.empty()
    outcome = project.build("--push")
    assert project.pushed() == before
    assert outcome.ran == set()

    project.bake()
    assert project.loaded() == before


def test_generate_check_of_a_stale_file_fails_with_the_difference(five: Project) -> None:
    """Add a stage: `generate --check` fails and shows the difference. Unchanged input gives the same bytes."""
    five.stagebake("generate")
    file = five.folder / "docker-bake.hcl"
    text = file.read_bytes()
    assert five.stagebake("generate", "--check").exit_code == 0
    five.write({"Dockerfile": f"{FIVE['Dockerfile']}FROM runtime AS debug\n"})
    stale = five.stagebake("generate", "--check")
    assert stale.exit_code == 2
    assert '+target "debug"' in stale.stdout
    assert file.read_bytes() == text
