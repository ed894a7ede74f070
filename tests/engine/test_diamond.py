"""Force each stage of a Dockerfile with a diamond: the stage and its dependents are new, each of them once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builder import Builder
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, Project
from tests.support.registry import Registry
from tests.support.shapes import SHAPES, changed

pytestmark = pytest.mark.xdist_group("diamond")

DEPENDENTS = {
    "root": {"root", "left", "right", "joined", "tested", "docs", "image"},
    "left": {"left", "joined", "tested", "docs", "image"},
    "right": {"right", "joined", "tested", "docs", "image"},
    "joined": {"joined", "tested", "docs", "image"},
    "tools": {"tools", "tested", "image"},
    "tested": {"tested", "image"},
    "docs": {"docs", "image"},
    "image": {"image"},
}
# The image also has the values of the stages before: a stage that ran twice would show two values
SHAPE = {
    **SHAPES["eight-with-a-diamond"],
    "Dockerfile": SHAPES["eight-with-a-diamond"]["Dockerfile"]
    + "COPY --from=tested /root.txt /tested/\n"
    + "COPY --from=docs /root.txt /left.txt /right.txt /joined.txt /docs/\n",
}


@pytest.fixture(scope="module")
def diamond_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """Push the eight stages once; return the name of the image."""
    folder = tmp_path_factory.mktemp("diamond") / "project"
    folder.mkdir()
    project = Project(folder=folder, name="diamond", engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    project.write(SHAPE)
    project.settings()
    engine.empty()
    project.build("--push")
    return project.name


@pytest.fixture
def diamond(diamond_push: str, project: Project) -> Project:
    """Return the pushed eight stages and an empty engine."""
    project.write(SHAPE)
    project.settings()
    project.registry.copy(diamond_push, project.name)
    return project


def whole(project: Project) -> dict[str, str]:
    """Return the values in the image. Each stage has one value, whichever way it came."""
    values = project.pushed()
    assert set(values) == set(DEPENDENTS)
    for path, content in project.registry.files(project.name, "latest").items():
        if path.endswith(".txt"):
            assert content.decode().strip() == values[path.rpartition("/")[2].removesuffix(".txt")], path
    return values


@pytest.mark.parametrize("stage", DEPENDENTS)
def test_force_stage_renews_it_and_its_dependents_and_later_builds_keep_them(diamond: Project, stage: str) -> None:
    """Compare the values: only these are new. Plain builds on the same and on an empty engine change nothing."""
    before = whole(diamond)
    outcome = diamond.build("--push", "--no-cache", stage)
    after = whole(diamond)
    assert changed(before, after) == outcome.ran == DEPENDENTS[stage]

    assert diamond.build("--push").ran == set()
    assert diamond.pushed() == after
    diamond.engine.empty()
    assert diamond.build("--push").ran == set()
    assert diamond.pushed() == after


@pytest.fixture(scope="module")
def container_builder(engine: Engine, folder: Path) -> Iterator[Builder]:
    """Start a builder of the driver `docker-container`."""
    home = folder / "builder"
    home.mkdir()
    builder = Builder("stagebake-diamond", engine, home, BUSYBOX)
    yield builder
    builder.stop()


def test_force_stage_with_the_docker_container_driver_is_as_exact(
    repository: Project, container_builder: Builder
) -> None:
    """Force each stage on a builder that has its images from the registry only.

    Another empty builder changes nothing, and a build without --push loads the image into the engine.
    """
    engine = repository.engine
    base = f"{repository.image}-base:1"
    engine.docker("image", "tag", BUSYBOX, base)
    engine.docker("image", "push", base)
    repository.write(SHAPE)
    repository.settings()
    use = (f"--builder={container_builder.name}", f"--context=busybox:1=docker-image://{base}")
    repository.build("--push", *use)
    for stage, dependents in DEPENDENTS.items():
        before = whole(repository)
        assert repository.build("--push", "--no-cache", stage, *use).ran == dependents
        after = whole(repository)
        assert changed(before, after) == dependents
        container_builder.empty()
        assert repository.build("--push", *use).ran == set()
        assert repository.pushed() == after
    repository.build(*use)
    assert repository.loaded() == after
