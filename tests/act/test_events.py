"""The workflow, run for the events of GitHub: what it pushes, and which caches it reads and writes."""

from __future__ import annotations

import pytest

from tests.act.runner import PULL_REQUEST, Runner
from tests.support.project import Project
from tests.support.shapes import STAGES, changed

pytestmark = pytest.mark.engine

CACHES = {"cache", *(f"cache-{stage}" for stage in STAGES)}


def digests(project: Project) -> dict[str, object]:
    """What each tag of the image's repository points at."""
    return {tag: project.registry.manifest(project.name, tag) for tag in project.tags()}


def edit(project: Project) -> None:
    """A change of the code, committed on a branch of its own."""
    project.git("checkout", "--quiet", "-b", "feature")
    project.write({"src/page.ts": "export default 2\n"})
    project.commit()


def test_a_push_to_main_ships_the_image_and_its_caches(fresh: Runner) -> None:
    """After the first push the registry has the image and every cache, and the next push restores all of it."""
    project = fresh.project
    assert fresh.push().rebuilt == set(STAGES)
    assert project.tags() >= {"latest", *CACHES}
    before = project.pushed()
    assert set(before) == set(STAGES)

    project.engine.empty()
    assert fresh.push().rebuilt == set()
    assert project.pushed() == before


def test_a_pull_request_writes_under_its_own_scope(runner: Runner) -> None:
    """A pull request of the same repository restores from main what it did not change, and touches no tag of main."""
    project = runner.project
    before = digests(project)
    edit(project)
    assert runner.pull_request().rebuilt == {"builder", "runtime"}
    after = digests(project)
    new = {tag for tag in after.keys() - before.keys() if tag.startswith("cache")}
    assert new
    assert all(f"_pr_{PULL_REQUEST}." in tag for tag in new)
    assert {tag: after[tag] for tag in CACHES} == {tag: before[tag] for tag in CACHES}


def test_latest_is_of_the_default_branch(runner: Runner) -> None:
    """Neither a pull request nor another branch moves the tag `latest`."""
    project = runner.project
    before = project.registry.manifest(project.name, "latest")
    edit(project)
    runner.pull_request()
    runner.dispatch(branch="feature")
    assert project.registry.manifest(project.name, "latest") == before


def test_a_fork_writes_nothing_and_reads_the_caches_of_main(runner: Runner) -> None:
    """A fork's pull request asks the registry for things only, and runs the changed stage and what depends on it."""
    project = runner.project
    before = digests(project)
    edit(project)
    with project.registry.proxy.watched() as seen:
        ran = runner.pull_request(head="stranger/app").rebuilt
    assert ran == {"builder", "runtime"}
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}
    assert digests(project) == before


def test_a_forced_stage_ships_new(runner: Runner) -> None:
    """Run by hand with a stage to force, the image has that one and what depends on it anew, and the rest as it was."""
    project = runner.project
    before = project.pushed()
    assert runner.dispatch(force="python-deps").rebuilt == {"python-deps", "runtime"}
    after = project.pushed()
    assert changed(before, after) == {"python-deps", "runtime"}

    project.engine.empty()
    runner.push()
    assert project.pushed() == after


def test_all_is_forced(runner: Runner) -> None:
    """Run by hand with `all`, every stage is new."""
    before = runner.project.pushed()
    runner.dispatch(force="all")
    assert changed(before, runner.project.pushed()) == set(STAGES)


def test_by_hand_without_push_writes_nothing(runner: Runner) -> None:
    """Run by hand with `push` off, the registry stays as it is."""
    before = digests(runner.project)
    with runner.project.registry.proxy.watched() as seen:
        runner.dispatch(push="false", force="builder")
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}
    assert digests(runner.project) == before


def test_by_hand_another_branch(runner: Runner) -> None:
    """Run by hand for another branch, that branch is built, and its caches are its own."""
    project = runner.project
    before = digests(project)
    edit(project)
    project.git("checkout", "--quiet", "main")
    assert runner.dispatch(branch="feature").rebuilt == {"builder", "runtime"}
    after = digests(project)
    new = {tag for tag in after.keys() - before.keys() if tag.startswith("cache")}
    assert new
    assert all("_feature." in tag for tag in new)
    assert {tag: after[tag] for tag in CACHES} == {tag: before[tag] for tag in CACHES}


def test_the_weekly_run_makes_everything_new(runner: Runner) -> None:
    """The scheduled run takes nothing from the caches, and writes those of the default branch."""
    before = runner.project.pushed()
    runner.schedule()
    after = runner.project.pushed()
    assert changed(before, after) == set(STAGES)

    runner.project.engine.empty()
    runner.push()
    assert runner.project.pushed() == after
