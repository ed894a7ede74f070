"""Build and push on a real engine and a real registry.

STAGEBAKE_RESTORES=10 restores an unchanged image ten times; the default is three times.
"""

from __future__ import annotations

import os

import pytest

from tests.support.project import Project
from tests.support.proxy import Fault
from tests.support.shapes import STAGES, changed

ROUNDS = int(os.environ.get("STAGEBAKE_RESTORES", "3"))
MEGABYTE = 1_000_000


def test_push_first_saves_a_cache_of_each_stage_and_the_merged_cache(five: Project) -> None:
    """Push once: the registry then has the image, a cache of each stage, and the merged cache."""
    outcome = five.build("--push")
    assert set(five.pushed()) == set(STAGES)
    assert refs(five) == {"latest", "cache", "cache.ledger", *(f"cache-{stage}" for stage in STAGES)}
    assert outcome.ran == set(STAGES)
    assert all(stage["cache"]["saved"] for stage in outcome.report["stages"])


def test_build_nothing_changed_runs_nothing_each_time(shipped: Project) -> None:
    """Restore every stage on an empty engine, each time, and pull less than a megabyte."""
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
def test_push_after_a_change_rebuilds_only_what_depends_on_it(shipped: Project, file: str, ran: set[str]) -> None:
    """Change a file: the stage that copies it and the stages after it run; the next build restores all."""
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


def test_build_without_push_writes_nothing_to_the_registry(five: Project) -> None:
    """Build without --push; the next build on the same engine runs nothing."""
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


def test_build_without_a_registry_uses_the_engine_s_own_cache(five: Project) -> None:
    """Build twice while no registry answers; the second build runs nothing."""
    with five.registry.proxy.faults(lambda _method, _path: Fault(reset=True)):
        first = five.stagebake("build")
        before = five.loaded()
        second = five.stagebake("build")
    assert (first.exit_code, second.exit_code) == (0, 0), second.stderr
    assert five.loaded() == before
    assert second.stages("restored") == set(STAGES)


def test_build_on_an_empty_engine_loads_the_pushed_image(shipped: Project) -> None:
    """Build without --push on an empty engine: it loads the pushed image and writes nothing."""
    before = shipped.pushed()
    with shipped.registry.proxy.watched() as seen:
        outcome = shipped.build()
    assert shipped.loaded() == before
    assert outcome.ran == set()
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}


def test_push_after_an_unpushed_build_saves_every_cache(five: Project) -> None:
    """Build without --push, then push: an empty engine restores all stages."""
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


def test_push_after_an_unpushed_change_saves_its_caches(shipped: Project) -> None:
    """Do the same where only some caches in the registry are out of date."""
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
    """Return all tags except the commit's."""
    return {tag for tag in project.tags() if not tag.startswith("main-")}
