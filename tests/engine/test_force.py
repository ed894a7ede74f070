"""Force stages with --no-cache: the shipped image has the new stages, and later builds keep them."""

from __future__ import annotations

from tests.support.project import Project
from tests.support.shapes import SHAPES, STAGES, changed


def assert_it_stays(project: Project) -> None:
    """Check that plain builds on the same engine and on an empty one change nothing."""
    before = project.pushed()
    same = project.build("--push")
    assert project.pushed() == before
    project.engine.empty()
    other = project.build("--push")
    assert project.pushed() == before
    assert same.ran == other.ran == set()


def test_force_stage_ships_it_and_its_dependents_new(shipped: Project) -> None:
    """Force python-deps: its value is new, and that of runtime, which copies from it; no other."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache", "python-deps")
    assert changed(before, shipped.pushed()) == {"python-deps", "runtime"}
    assert outcome.ran == {"python-deps", "runtime"}
    assert_it_stays(shipped)


def test_force_first_stage_makes_every_stage_new(shipped: Project) -> None:
    """Force base, on which every stage depends."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache", "base")
    assert changed(before, shipped.pushed()) == set(STAGES)
    assert outcome.ran == set(STAGES)


def test_force_second_stage_on_another_engine_keeps_the_first(shipped: Project) -> None:
    """Force node-deps on another engine; the forced python-deps stays."""
    shipped.build("--push", "--no-cache", "python-deps")
    before = shipped.pushed()
    shipped.engine.empty()
    outcome = shipped.build("--push", "--no-cache", "node-deps")
    assert changed(before, shipped.pushed()) == {"node-deps", "builder", "runtime"}
    assert outcome.ran == {"node-deps", "builder", "runtime"}
    assert_it_stays(shipped)


def test_force_second_stage_on_the_same_engine_keeps_the_first(shipped: Project) -> None:
    """Force builder on the engine that forced python-deps."""
    shipped.build("--push", "--no-cache", "python-deps")
    before = shipped.pushed()
    shipped.build("--push", "--no-cache", "builder")
    assert changed(before, shipped.pushed()) == {"builder", "runtime"}
    assert_it_stays(shipped)


def test_force_two_stages_in_any_letter_case_renews_both(shipped: Project) -> None:
    """Name several stages after --no-cache; like BuildKit, it ignores the letter case."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache", "Python-Deps", "builder")
    assert changed(before, shipped.pushed()) == {"python-deps", "builder", "runtime"}
    assert outcome.ran == {"python-deps", "builder", "runtime"}


def test_force_without_names_makes_every_stage_new(shipped: Project) -> None:
    """Pass --no-cache alone: nothing comes from any cache."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache")
    assert changed(before, shipped.pushed()) == set(STAGES)
    assert outcome.ran == set(STAGES)
    assert_it_stays(shipped)


def test_force_after_an_unpushed_build_keeps_its_other_stages(five: Project) -> None:
    """Build without --push, then force python-deps: the others are those of the first build."""
    five.build()
    before = five.loaded()
    five.build("--push", "--no-cache", "python-deps")
    assert changed(before, five.pushed()) == {"python-deps", "runtime"}
    assert_it_stays(five)


def test_force_after_an_unpushed_change_keeps_its_other_stages(shipped: Project) -> None:
    """Do the same where the registry has the caches from before the change."""
    shipped.write({"src/page.ts": "changed\n"})
    shipped.build()
    before = shipped.loaded()
    shipped.build("--push", "--no-cache", "python-deps")
    assert changed(before, shipped.pushed()) == {"python-deps", "runtime"}
    assert_it_stays(shipped)


def test_push_after_an_unpushed_forced_build_ships_the_forced_stage(shipped: Project) -> None:
    """Force a stage without --push: a push from the same engine ships and saves it."""
    before = shipped.pushed()
    shipped.build("--no-cache", "python-deps")
    forced = shipped.loaded()
    assert changed(before, forced) == {"python-deps", "runtime"}
    shipped.build("--push")
    assert shipped.pushed() == forced
    assert_it_stays(shipped)


def test_force_unknown_stage_exits_2_and_lists_the_stages(five: Project) -> None:
    """Name an unknown stage: stagebake suggests a name and builds nothing."""
    outcome = five.stagebake("build", "--no-cache", "python-dep")
    assert outcome.exit_code == 2
    assert "did you mean `python-deps`" in outcome.stderr
    assert all(stage in outcome.stderr for stage in STAGES)
    assert not outcome.report


def test_force_unnamed_stage_renews_every_stage_and_warns(project: Project) -> None:
    """Name a stage as the table shows it: all are new, a warning names the others, and later builds keep them."""
    project.write(SHAPES["numbers-and-no-names"])
    project.settings()
    project.commit()
    project.build("--push")
    before = project.pushed()
    outcome = project.stagebake("build", "--push", "--no-cache", "stage-0")
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, project.pushed()) == before.keys()
    assert outcome.ran == {"stage-0", "stage-2", "stage-3"}
    assert ["`stage-2` is rebuilt too" in warning for warning in outcome.report["warnings"]] == [True]
    assert_it_stays(project)


def test_force_stage_that_the_target_does_not_need_warns(two: Project) -> None:
    """Force a stage outside the target: nothing is forced, and a warning says so."""
    outcome = two.stagebake("build", "--target=base", "--no-cache", "image")
    assert outcome.exit_code == 0, outcome.stderr
    assert ["base does not need `image`" in warning for warning in outcome.report["warnings"]] == [True]
