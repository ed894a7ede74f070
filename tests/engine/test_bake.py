"""The generated file is an ordinary bake file: `docker buildx bake` builds it without stagebake."""

from __future__ import annotations

import json
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

OVERRIDE = """\
target "runtime" {
  labels = { "test.stagebake.team" = "override" }
  args = { WHO = "override" }
}
"""


@pytest.mark.parametrize("shape", SHAPES)
def test_bake_accepts_every_generated_file(repository: Project, shape: str) -> None:
    """`docker buildx bake --print` takes each file; the final stage and all that have a name are targets."""
    repository.write(SHAPES[shape])
    outcome = repository.stagebake("generate", **repository.environment())
    assert outcome.exit_code == 0, outcome.stderr
    assert len(printed(repository)) == TARGETS[shape]


def printed(repository: Project, **environment: str) -> dict[str, Any]:
    """The targets of all stages as bake understands them, where each is to save its cache."""
    document: dict[str, Any] = json.loads(repository.bake("--print", "stages", SAVE="1", **environment)[0])
    return dict(document["target"])


@pytest.mark.parametrize("cache", ["registry", "local", "gha"])
def test_without_an_image_name_bake_has_neither_tags_nor_caches(repository: Project, cache: str) -> None:
    """A file whose image nobody named builds as it is, and with IMAGE it has all that a name is needed for."""
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
    """The tag of the image's name in the settings is the default of TAGS, without one it is `latest`."""
    repository.write(FIVE)
    for image, given, tags in (
        ("ghcr.io/o/n", {}, ["ghcr.io/o/n:latest"]),
        ("ghcr.io/o/n:1.2", {}, ["ghcr.io/o/n:1.2"]),
        ("ghcr.io/o/n:1.2", {"TAGS": "a,b"}, ["ghcr.io/o/n:a", "ghcr.io/o/n:b"]),
    ):
        assert repository.stagebake("generate", f"--image={image}").exit_code == 0
        assert printed(repository, **given)["runtime"]["tags"] == tags


def test_bake_builds_the_same_image_from_the_composed_cache(shipped: Project) -> None:
    """Without stagebake, on an engine that remembers nothing: what was pushed is restored, no step runs."""
    shipped.stagebake("generate")
    _, progress = shipped.bake()
    assert shipped.loaded() == shipped.pushed()
    assert f"importing cache manifest from {shipped.image}:cache" in progress


def test_bake_saves_the_cache_of_a_stage(five: Project) -> None:
    """SAVE=1 writes the stage's own ref, and stagebake restores the stage from it."""
    five.stagebake("generate")
    five.bake("python-deps", SAVE="1")
    assert five.tags() == {"cache-python-deps"}

    five.engine.empty()
    outcome = five.build("--push")
    assert "python-deps" in outcome.stages("restored")
    assert "node-deps" in outcome.ran


def test_bake_saves_nothing_by_itself(five: Project) -> None:
    """Without SAVE a plain bake of all stages writes nothing."""
    five.stagebake("generate")
    five.bake("stages")
    assert five.tags() == set()
    assert set(five.loaded()) == set(STAGES)


def test_the_override_file_is_kept_and_honoured(project: Project) -> None:
    """docker-bake.override.hcl: generate leaves it, bake and stagebake lay it over the generated file."""
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


def test_a_stale_file_is_found(five: Project) -> None:
    """generate --check fails with the difference once a stage was added, and generate is the same bytes each time."""
    five.stagebake("generate")
    file = five.folder / "docker-bake.hcl"
    text = file.read_bytes()
    assert five.stagebake("generate", "--check").exit_code == 0
    five.write({"Dockerfile": f"{FIVE['Dockerfile']}FROM runtime AS debug\n"})
    stale = five.stagebake("generate", "--check")
    assert stale.exit_code == 2
    assert '+target "debug"' in stale.stdout
    assert file.read_bytes() == text
