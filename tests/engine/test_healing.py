"""Build with a broken cache: the image is right, and the next build can use what was saved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from tests.support.faults import Broken, blob_of, put_manifest, unsound
from tests.support.project import Project
from tests.support.shapes import FIVE, STAGES, changed

# Stages that run again where the cache of a stage is broken
RUN_AGAIN = {
    "base": set(STAGES),
    "python-deps": {"python-deps", "runtime"},
    "node-deps": {"node-deps", "builder", "runtime"},
    "builder": {"builder", "runtime"},
    "runtime": {"runtime"},
}
HARM = [*product(STAGES, ("gone", "short", "flipped")), ("base", "empty")]
CODE = {"src/page.ts": "changed\n"}
FIRST_STEP_OF_RUNTIME = {"Dockerfile": FIVE["Dockerfile"].replace("AS runtime\n", "AS runtime\nRUN true\n")}
LAST_STEP_OF_RUNTIME = {"Dockerfile": FIVE["Dockerfile"].replace("CMD", "RUN true\nCMD")}

# Changes that make BuildKit pull the layer of a stage, and run other stages
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
    """Check that an empty engine restores all, warns of nothing, and no ref names a broken blob.

    The image of an earlier commit stays as it is.
    """
    before = project.pushed()
    project.engine.empty()
    again = project.build("--push")
    assert project.pushed() == before
    assert again.ran == set()
    assert again.report["healed"] == []
    assert {what for what in unsound(project) if not what.startswith("main-")} == set()


@pytest.mark.parametrize(("stage", "how"), HARM)
def test_push_with_a_broken_blob_runs_its_stage_and_repairs_the_cache(
    shipped: Project, broken: Broken, stage: str, how: str
) -> None:
    """Break a blob of each stage: the stage and its dependents run, the next build restores all.

    stagebake sees a missing, empty or short blob before the build; a flipped byte appears when BuildKit pulls it, and
    costs a second attempt.
    """
    before = shipped.pushed()
    broken.make(shipped.registry.blob(blob_of(shipped, stage)), how)
    shipped.write(PULLS[stage])
    outcome = shipped.build("--push")
    assert changed(before, shipped.pushed()) == outcome.ran == RUN_AGAIN[stage]
    assert stage in outcome.report["healed"]
    assert f"healed: the cache of {stage} was broken" in outcome.stdout
    assert_healed(shipped)


def test_push_with_an_old_merged_cache_merges_again(shipped: Project) -> None:
    """Push without anything to save: the merged cache is up to date again for other builds."""
    whole = shipped.registry.digest(shipped.name, "cache")
    old = shipped.registry.read_manifest(shipped.name, "cache-base")
    put_manifest(shipped, "cache", old, old["mediaType"])
    outcome = shipped.build("--push")
    assert outcome.ran == set()
    assert outcome.report["warnings"] == []
    assert shipped.registry.digest(shipped.name, "cache") == whole
    assert_healed(shipped)


@pytest.mark.parametrize("how", ["gone", "short"])
def test_push_with_a_broken_blob_that_nothing_needs_runs_nothing(shipped: Project, broken: Broken, how: str) -> None:
    """Change nothing: the later stages restore the image, and the broken stage runs only when a build needs it."""
    before = shipped.pushed()
    broken.make(shipped.registry.blob(blob_of(shipped, "node-deps")), how)
    outcome = shipped.build("--push")
    assert shipped.pushed() == before
    assert outcome.ran == set()
    assert "node-deps" in outcome.report["healed"]
    assert_healed(shipped)

    shipped.engine.empty()
    shipped.write(CODE)
    later = shipped.build("--push")
    assert changed(before, shipped.pushed()) == later.ran == RUN_AGAIN["node-deps"]
    assert_healed(shipped)
