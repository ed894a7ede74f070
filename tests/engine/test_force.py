"""--no-cache: what is forced is really new in what ships, and stays."""

from __future__ import annotations

from tests.support.project import Project
from tests.support.shapes import SHAPES, STAGES, changed


def assert_it_stays(project: Project) -> None:
    """Ordinary builds on the same engine and on one that remembers nothing change nothing."""
    before = project.pushed()
    same = project.build("--push")
    assert project.pushed() == before
    project.engine.empty()
    other = project.build("--push")
    assert project.pushed() == before
    assert same.ran == other.ran == set()


def test_a_forced_stage_ships_new_and_the_others_stay(shipped: Project) -> None:
    """--no-cache python-deps: its value in the image is new, and that of runtime, which copies from it; no other."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache", "python-deps")
    assert changed(before, shipped.pushed()) == {"python-deps", "runtime"}
    assert outcome.ran == {"python-deps", "runtime"}
    assert_it_stays(shipped)


def test_forcing_the_first_stage_makes_all_new(shipped: Project) -> None:
    """--no-cache base: every stage depends on it."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache", "base")
    assert changed(before, shipped.pushed()) == set(STAGES)
    assert outcome.ran == set(STAGES)


def test_a_second_forced_stage_keeps_the_first(shipped: Project) -> None:
    """Forcing node-deps on another engine keeps what forcing python-deps had made."""
    shipped.build("--push", "--no-cache", "python-deps")
    before = shipped.pushed()
    shipped.engine.empty()
    outcome = shipped.build("--push", "--no-cache", "node-deps")
    assert changed(before, shipped.pushed()) == {"node-deps", "builder", "runtime"}
    assert outcome.ran == {"node-deps", "builder", "runtime"}
    assert_it_stays(shipped)


def test_a_second_forced_stage_on_the_same_engine(shipped: Project) -> None:
    """The same on the engine that forced the first one."""
    shipped.build("--push", "--no-cache", "python-deps")
    before = shipped.pushed()
    shipped.build("--push", "--no-cache", "builder")
    assert changed(before, shipped.pushed()) == {"builder", "runtime"}
    assert_it_stays(shipped)


def test_two_stages_at_once_in_any_case(shipped: Project) -> None:
    """--no-cache takes several names, and as BuildKit does in any case."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache", "Python-Deps", "builder")
    assert changed(before, shipped.pushed()) == {"python-deps", "builder", "runtime"}
    assert outcome.ran == {"python-deps", "builder", "runtime"}


def test_no_cache_without_names_makes_all_new(shipped: Project) -> None:
    """A bare --no-cache: nothing comes from any cache."""
    before = shipped.pushed()
    outcome = shipped.build("--push", "--no-cache")
    assert changed(before, shipped.pushed()) == set(STAGES)
    assert outcome.ran == set(STAGES)
    assert_it_stays(shipped)


def test_forcing_after_an_unpushed_build(five: Project) -> None:
    """An engine that built without --push: the forced stage is new, the others are those of that build."""
    five.build()
    before = five.loaded()
    five.build("--push", "--no-cache", "python-deps")
    assert changed(before, five.pushed()) == {"python-deps", "runtime"}
    assert_it_stays(five)


def test_forcing_after_an_unpushed_change(shipped: Project) -> None:
    """The same where the unpushed build was of a change and the registry has the caches of before."""
    shipped.write({"src/page.ts": "changed\n"})
    shipped.build()
    before = shipped.loaded()
    shipped.build("--push", "--no-cache", "python-deps")
    assert changed(before, shipped.pushed()) == {"python-deps", "runtime"}
    assert_it_stays(shipped)


def test_an_unpushed_forced_build_and_the_push_after_it(shipped: Project) -> None:
    """A stage forced without --push stays on that engine, and a push from there ships and saves it."""
    before = shipped.pushed()
    shipped.build("--no-cache", "python-deps")
    forced = shipped.loaded()
    assert changed(before, forced) == {"python-deps", "runtime"}
    shipped.build("--push")
    assert shipped.pushed() == forced
    assert_it_stays(shipped)


def test_an_unknown_stage_is_refused_with_the_list(five: Project) -> None:
    """--no-cache with a name that is no stage: exit code 2, the stages are listed, nothing is built."""
    outcome = five.stagebake("build", "--no-cache", "python-dep")
    assert outcome.exit_code == 2
    assert "did you mean `python-deps`" in outcome.stderr
    assert all(stage in outcome.stderr for stage in STAGES)
    assert not outcome.report


def test_an_unnamed_stage_is_forced_with_all(project: Project) -> None:
    """By the name that the table shows: all is new in what ships, the others are named, and it stays."""
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


def test_a_stage_that_is_not_built_is_named(two: Project) -> None:
    """--no-cache with a stage that the target does not need: nothing is forced, and a warning says so."""
    outcome = two.stagebake("build", "--target=base", "--no-cache", "image")
    assert outcome.exit_code == 0, outcome.stderr
    assert ["base does not need `image`" in warning for warning in outcome.report["warnings"]] == [True]
