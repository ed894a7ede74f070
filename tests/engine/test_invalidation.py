"""Build after each single change on an empty engine: exactly the stages run that BuildKit's rules name.

The value that a stage draws tells whether it ran. docs/invalidation.md is written from this table.
"""

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


def test_invalidation_page_names_every_change_of_the_tables() -> None:
    document = (Path(__file__).parents[2] / "docs/invalidation.md").read_text(encoding="utf-8")
    assert not {name for name in (*CHANGES, *NOT_CHANGES) if f"`{name}`" not in document}


@pytest.fixture(scope="module")
def wide_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """Push the Dockerfile of this table once; return the name of the image."""
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
    """Return the same sources and caches, and an empty engine."""
    fill(project)
    project.registry.copy(wide_push, project.name)
    return project


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_push_after_each_change_runs_only_what_depends_on_it(wide: Project, change: Change) -> None:
    """Compare the values in the image: only these are new, and the report says the same."""
    before = wide.pushed()
    change.act(wide)
    outcome = release(wide)
    assert changed(before, wide.pushed()) == change.new
    assert outcome.ran == (change.new if change.ran is None else change.ran)


def test_push_after_harmless_changes_runs_nothing(wide: Project) -> None:
    """Make all of NOT_CHANGES at once: the layers stay, and LABEL and CMD are new in the image."""
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


def test_push_with_another_secret_value_runs_nothing(wide: Project) -> None:
    """Change a secret's value: its step is restored. Forcing the stage runs it."""
    before = wide.pushed()
    assert release(wide, word="two").ran == set()
    assert wide.pushed() == before
    release(wide, "--no-cache", "secret", word="two")
    assert changed(before, wide.pushed()) == {"secret", "image"}


def test_push_of_a_checkout_with_umask_002_rebuilds_and_warns(shipped: Project) -> None:
    """Check the same commit out with umask 002: file modes are part of the cache keys, so copied files miss.

    The command in the warning brings the caches back.
    """
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


def test_push_of_a_checkout_with_the_same_umask_runs_nothing(shipped: Project) -> None:
    """Clone with umask 022: another folder with other times restores all, without a warning."""
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


def test_push_of_a_stage_with_an_unchanged_result_restores_what_follows(project: Project) -> None:
    """Run `builder` three times with other sources and the same result: the stages after it are restored each time.

    No other stage runs, in a plain build on another engine after each push either.
    """
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
