"""The main job, on a real engine and a real registry.

STAGEBAKE_RESTORES=10 restores an unchanged image ten times, without it three times.
"""

from __future__ import annotations

import os

import pytest

from tests.support.project import Project
from tests.support.proxy import Fault
from tests.support.shapes import STAGES, changed

ROUNDS = int(os.environ.get("STAGEBAKE_RESTORES", "3"))
MEGABYTE = 1_000_000


def test_a_cold_push_saves_a_ref_for_every_stage_and_the_composed_one(five: Project) -> None:
    """After the first --push the registry has the image, a cache of each stage, and the composed cache."""
    outcome = five.build("--push")
    assert set(five.pushed()) == set(STAGES)
    assert refs(five) == {"latest", "cache", "cache.ledger", *(f"cache-{stage}" for stage in STAGES)}
    assert outcome.ran == set(STAGES)
    assert all(stage["cache"]["saved"] for stage in outcome.report["stages"])


def test_build_nothing_changed_runs_nothing_each_time(shipped: Project) -> None:
    """An engine that remembers nothing restores every stage, each time, and hardly a byte comes from the registry."""
    before = shipped.pushed()
    for _ in range(ROUNDS):
        shipped.engine.empty()
        with shipped.registry.proxy.watched() as seen:
            outcome = shipped.build("--push")
        assert shipped.pushed() == before
        assert outcome.stages("restored") == set(STAGES)
        assert sum(exchange.sent for exchange in seen) < MEGABYTE
        assert outcome.report["bytes"]["pulled"] < MEGABYTE


@pytest.mark.parametrize(
    ("file", "ran"),
    [
        ("src/page.ts", {"builder", "runtime"}),
        ("package-lock.json", {"node-deps", "builder", "runtime"}),
        ("requirements.txt", {"python-deps", "runtime"}),
    ],
)
def test_a_change_rebuilds_what_depends_on_it(shipped: Project, file: str, ran: set[str]) -> None:
    """A changed file rebuilds the stage that copies it and those after it; the build after that restores all."""
    before = shipped.pushed()
    shipped.write({file: "changed\n"})
    outcome = shipped.build("--push")
    after = shipped.pushed()
    assert changed(before, after) == ran
    assert outcome.ran == ran

    shipped.engine.empty()
    again = shipped.build("--push")
    assert shipped.pushed() == after
    assert again.ran == set()


def test_without_push_nothing_leaves_the_machine(five: Project) -> None:
    """A plain build writes nothing to the registry, and the next one on the same engine runs nothing."""
    with five.registry.proxy.watched() as seen:
        first = five.build()
        before = five.loaded()
        second = five.build()
    assert five.loaded() == before
    assert set(before) == set(STAGES)
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}
    assert five.tags() == set()
    assert first.ran == set(STAGES)
    assert second.stages("restored") == set(STAGES)


def test_without_a_registry_the_engine_remembers(five: Project) -> None:
    """Where no registry answers, a build succeeds, and the next one runs nothing."""
    with five.registry.proxy.faults(lambda _method, _path: Fault(reset=True)):
        first = five.stagebake("build")
        before = five.loaded()
        second = five.stagebake("build")
    assert (first.exit_code, second.exit_code) == (0, 0), second.stderr
    assert five.loaded() == before
    assert second.stages("restored") == set(STAGES)


def test_a_laptop_reads_the_composed_cache_as_it_is(shipped: Project) -> None:
    """A plain build on an engine that remembers nothing loads the image that was pushed, and writes nothing."""
    before = shipped.pushed()
    with shipped.registry.proxy.watched() as seen:
        outcome = shipped.build()
    assert shipped.loaded() == before
    assert outcome.ran == set()
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}


def test_a_push_saves_what_was_built_before_it_unpushed(five: Project) -> None:
    """A laptop that built without --push and pushes then, saves every cache: another engine restores them."""
    five.build()
    before = five.loaded()
    pushed = five.build("--push")
    assert five.pushed() == before
    assert refs(five) == {"latest", "cache", "cache.ledger", *(f"cache-{stage}" for stage in STAGES)}
    assert pushed.ran == set()

    five.engine.empty()
    restored = five.build("--push")
    assert five.pushed() == before
    assert restored.ran == set()


def test_a_push_saves_a_change_that_was_built_before_it_unpushed(shipped: Project) -> None:
    """The same where only some of the caches in the registry are old."""
    shipped.write({"src/page.ts": "changed\n"})
    shipped.build()
    before = shipped.loaded()
    shipped.build("--push")
    assert shipped.pushed() == before

    shipped.engine.empty()
    restored = shipped.build("--push")
    assert shipped.pushed() == before
    assert restored.ran == set()


def refs(project: Project) -> set[str]:
    """All tags but that of the commit."""
    return {tag for tag in project.tags() if not tag.startswith("main-")}
