"""Run the workflow by hand and on its schedule: check what is new and whose caches are written."""

from __future__ import annotations

import pytest

from tests.act import golden
from tests.act.runner import Runner, digests, edit
from tests.support.shapes import STAGES, changed

pytestmark = pytest.mark.engine


def test_workflow_by_hand_with_a_forced_stage_ships_it_new(runner: Runner) -> None:
    """Force one stage: it and its dependents are new in the image, the rest is as it was."""
    project = runner.project
    before = project.pushed()
    job = runner.dispatch(force="python-deps")
    assert job.rebuilt == {"python-deps", "runtime"}
    golden.check("forced", job.summary)
    after = project.pushed()
    assert changed(before, after) == {"python-deps", "runtime"}

    project.engine.empty()
    runner.push()
    assert project.pushed() == after


def test_workflow_by_hand_without_push_writes_nothing(runner: Runner) -> None:
    before = digests(runner.project)
    with runner.project.registry.proxy.watched() as seen:
        runner.dispatch(push="false", force="builder")
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}
    assert digests(runner.project) == before


def test_workflow_by_hand_for_another_branch_writes_its_caches_only(runner: Runner) -> None:
    """Build another branch: `latest` stays main's."""
    project = runner.project
    before = digests(project)
    edit(project)
    project.git("checkout", "--quiet", "main")
    assert runner.dispatch(branch="feature").rebuilt == {"builder", "runtime"}
    after = digests(project)
    new = {tag for tag in after.keys() - before.keys() if tag.startswith("cache")}
    assert new
    assert all("_feature." in tag for tag in new)
    assert {tag: after[tag] for tag in before} == before


def test_workflow_on_schedule_makes_every_stage_new(runner: Runner) -> None:
    """Read nothing from the caches, and write those of the default branch."""
    before = runner.project.pushed()
    runner.schedule()
    after = runner.project.pushed()
    assert changed(before, after) == set(STAGES)

    runner.project.engine.empty()
    runner.push()
    assert runner.project.pushed() == after
