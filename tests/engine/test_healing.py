"""A broken cache: the build goes on, the image is right, and the next build can use what was saved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.faults import Broken, blob_of, put_manifest, unsound
from tests.support.project import Project
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
    """An engine that remembers nothing restores all, warns of nothing, and no ref names a broken blob.

    The image of an earlier commit is left as it is.
    """
    before = project.pushed()
    project.engine.empty()
    again = project.build("--push")
    assert project.pushed() == before
    assert again.ran == set()
    assert again.report["healed"] == []
    assert {what for what in unsound(project) if not what.startswith("main-")} == set()


@pytest.mark.parametrize("how", ["gone", "short", "flipped"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_broken_blob_of_each_stage(shipped: Project, broken: Broken, stage: str, how: str) -> None:
    """The stage runs and what depends on it, the rest is restored; the next build restores all, from whole blobs.

    That a blob is gone or short is seen beforehand; that a byte is another, when it is pulled: in a second attempt.
    """
    before = shipped.pushed()
    broken.make(shipped.registry.blob(blob_of(shipped, stage)), how)
    shipped.write(PULLS[stage])
    outcome = shipped.build("--push")
    assert changed(before, shipped.pushed()) == outcome.ran == RUN_AGAIN[stage]
    assert stage in outcome.report["healed"]
    assert f"healed: the cache of {stage} was broken" in outcome.stdout
    assert_healed(shipped)


def test_a_composed_cache_that_is_old_is_made_anew(shipped: Project) -> None:
    """A push that has nothing to save still sees to it that others read what the caches make together now."""
    whole = shipped.registry.digest(shipped.name, "cache")
    old = shipped.registry.read_manifest(shipped.name, "cache-base")
    put_manifest(shipped, "cache", old, old["mediaType"])
    outcome = shipped.build("--push")
    assert outcome.ran == set()
    assert outcome.report["warnings"] == []
    assert shipped.registry.digest(shipped.name, "cache") == whole
    assert_healed(shipped)


@pytest.mark.parametrize("how", ["gone", "short"])
def test_a_broken_stage_that_nothing_needs_does_not_run(shipped: Project, broken: Broken, how: str) -> None:
    """With nothing changed the image is had from the later stages; the broken one is left out, and runs when needed."""
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
