"""A broken cache: the build goes on, the image is right, and the next build can use what was saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import BUILDKIT, Broken, Rule, blob_of, unsound
from tests.support.project import Project
from tests.support.proxy import Fault
from tests.support.shapes import FIVE, STAGES, changed

# What is run again where the cache of a stage is broken
RUN_AGAIN = {
    "base": set(STAGES),
    "python-deps": {"python-deps", "runtime"},
    "node-deps": {"node-deps", "builder", "runtime"},
    "builder": {"builder", "runtime"},
    "runtime": {"runtime"},
}
CODE = {"src/page.ts": "changed\n"}
FIRST_STEP_OF_RUNTIME = {"Dockerfile": FIVE["Dockerfile"].replace("AS runtime\n", "AS runtime\nRUN true\n")}
LAST_STEP_OF_RUNTIME = {"Dockerfile": FIVE["Dockerfile"].replace("CMD", "RUN true\nCMD")}

# A change for which the layer of a stage is really pulled, and the stages that it makes run
PULLS = {
    "base": CODE,
    "python-deps": FIRST_STEP_OF_RUNTIME,
    "node-deps": CODE,
    "builder": FIRST_STEP_OF_RUNTIME,
    "runtime": LAST_STEP_OF_RUNTIME,
}


@pytest.fixture
def broken() -> Iterator[Broken]:
    blobs = Broken()
    yield blobs
    blobs.mend()


def assert_healed(project: Project) -> None:
    """An engine that remembers nothing restores all, warns of nothing, and no ref names a broken blob."""
    before = project.pushed()
    project.engine.empty()
    again = project.build("--push")
    assert project.pushed() == before
    assert again.ran == set()
    assert again.report["healed"] == []
    assert unsound(project) == set()


@pytest.mark.parametrize("how", ["gone", "short"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_blob_that_is_seen_to_be_broken(shipped: Project, broken: Broken, stage: str, how: str) -> None:
    """A blob is missing or short: its stage and what depends on it run, the rest is restored, the next build all."""
    before = shipped.pushed()
    broken.make(shipped.registry.blob(blob_of(shipped, stage)), how)
    outcome = shipped.build("--push")
    assert changed(before, shipped.pushed()) == outcome.ran == RUN_AGAIN[stage]
    assert stage in outcome.report["healed"]
    assert f"healed: the cache of {stage} was broken" in outcome.stdout
    assert_healed(shipped)


@pytest.mark.parametrize("stage", STAGES)
def test_a_blob_with_a_flipped_byte(shipped: Project, broken: Broken, stage: str) -> None:
    """A byte is another, which only a pull can see: in a second attempt the stage and what depends on it run."""
    before = shipped.pushed()
    broken.make(shipped.registry.blob(blob_of(shipped, stage)), "flipped")
    shipped.write(PULLS[stage])
    outcome = shipped.build("--push")
    assert changed(before, shipped.pushed()) == outcome.ran == RUN_AGAIN[stage]
    assert stage in outcome.report["healed"]
    assert_healed(shipped)
