"""What runs after a change is what BuildKit's rules say: each on an engine that remembers nothing, with the caches of a
first push. Whether a stage ran is seen by the value that it draws. docs/invalidation.md is written from this table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.changes import CHANGES, NOT_CHANGES, Change, fill
from tests.support.engine import Engine
from tests.support.project import Outcome, Project
from tests.support.registry import Registry
from tests.support.shapes import FIVE, STAGES, changed, draw

pytestmark = pytest.mark.xdist_group("invalidation")

ROUNDS = 3


def test_the_document_has_each_row() -> None:
    """docs/invalidation.md names every change of these tables."""
    document = (Path(__file__).parents[2] / "docs/invalidation.md").read_text(encoding="utf-8")
    assert not {name for name in (*CHANGES, *NOT_CHANGES) if f"`{name}`" not in document}


@pytest.fixture(scope="module")
def wide_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """The name under which the Dockerfile of this table was pushed once."""
    folder = tmp_path_factory.mktemp("wide") / "project"
    folder.mkdir()
    project = Project(folder=folder, name="wide", engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    fill(project)
    engine.empty()
    project.build("--push", WORD="one")
    return project.name


@pytest.fixture
def wide(wide_push: str, project: Project) -> Project:
    """The same sources and caches, and an engine that remembers nothing."""
    fill(project)
    project.registry.copy(wide_push, project.name)
    return project


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_runs_what_depends_on_it_and_nothing_else(wide: Project, change: Change) -> None:
    """The values of these stages are new, all others are those of before, and the report says the same."""
    before = wide.pushed()
    change.act(wide)
    outcome = release(wide)
    assert changed(before, wide.pushed()) == change.new
    assert outcome.ran == (change.new if change.ran is None else change.ran)


def test_what_is_no_change_runs_nothing(wide: Project) -> None:
    """All of NOT_CHANGES at once: no stage runs. But what LABEL and CMD say is new in the image, on the same layers."""
    before, layers = wide.pushed(), wide.registry.image_manifest(wide.name, "latest")["layers"]
    for act in NOT_CHANGES.values():
        act(wide)
    assert release(wide).ran == set()
    assert wide.pushed() == before
    assert wide.registry.image_manifest(wide.name, "latest")["layers"] == layers
    config = wide.registry.config(wide.name, "latest")["config"]
    assert (config["Labels"]["version"], config["Cmd"]) == ("2", ["true"])


def release(project: Project, *arguments: str, word: str = "one") -> Outcome:
    """Push from a detached HEAD, which saves no cache and so takes less time."""
    project.git("checkout", "--quiet", "--detach")
    return project.release(*arguments, WORD=word)


def test_a_secret_s_value_is_no_reason(wide: Project) -> None:
    """A secret with another value: the step that reads it is restored. Forcing the stage runs it."""
    before = wide.pushed()
    assert release(wide, word="two").ran == set()
    assert wide.pushed() == before
    release(wide, "--no-cache", "secret", word="two")
    assert changed(before, wide.pushed()) == {"secret", "image"}


def test_a_checkout_under_another_umask_misses_and_is_told_why(shipped: Project) -> None:
    """The same commit checked out under umask 002: modes count, so what is copied is rebuilt. stagebake says so, and
    what it says to run brings the caches back."""
    before = shipped.pushed()
    loose = cloned(shipped, "0002")
    outcome = loose.stagebake("build", "--image", f"{shipped.image}:loose", "--push")
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, loose.pushed("loose")) == set(STAGES) - {"base"}
    (warning,) = outcome.report["warnings"]
    assert "umask 002" in warning
    assert "chmod -R go-w ." in warning

    shipped.engine.empty()
    shipped.engine.run("chmod", "-R", "go-w", ".", folder=loose.folder)
    loose.build("--push")
    assert loose.pushed() == before


def test_a_checkout_under_the_same_umask_misses_nothing(shipped: Project) -> None:
    """A clone under umask 022 is another folder with other times: all is restored, and no warning is given."""
    before = shipped.pushed()
    assert cloned(shipped, "0022").build("--push").ran == set()
    assert shipped.pushed() == before


def cloned(project: Project, umask: str) -> Project:
    folder = project.folder.parent / f"clone{umask}"
    answer = project.engine.run(
        "sh", "-c", f"umask {umask} && git clone --quiet {project.folder} {folder}", folder=project.folder.parent
    )
    assert answer.returncode == 0, answer.stderr
    return replace(project, folder=folder)


def test_a_stage_that_comes_out_the_same_again_and_again(project: Project) -> None:
    """Three times `builder` runs with other sources and the same result: what copies from it is restored each time, and
    no stage beside it ever runs, with a plain build on another engine after each."""
    dockerfile = FIVE["Dockerfile"].replace(draw("builder"), "RUN echo built > /builder.txt")
    project.write({**FIVE, "Dockerfile": dockerfile})
    project.settings()
    project.build("--push")
    before = project.pushed()
    for number in range(ROUNDS):
        project.write({"src/page.ts": f"{number}\n"})
        for ran in ({"builder"}, set()):
            project.engine.empty()
            assert project.build("--push").ran == ran
            assert project.pushed() == before
