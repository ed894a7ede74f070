"""Plan against a real registry: without an engine, as a guard, with broken caches, and without a ledger."""

from __future__ import annotations

import json

import pytest

from tests.support.faults import Broken, blob_of, put_manifest
from tests.support.project import Outcome, Project
from tests.support.registry import Registry
from tests.support.shapes import FIVE, STAGES

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PATH": "/nowhere"}
DEPENDENCIES = "restore:base,python-deps,node-deps"


@pytest.fixture
def planned(project: Project) -> Project:
    """Push the five-stage repository once, on base images that the registry has; return it with an empty engine."""
    hosted = project.hosting("first")
    hosted.write(FIVE)
    hosted.settings()
    hosted.commit()
    hosted.build("--push")
    hosted.engine.empty()
    return hosted


def plan(project: Project, *arguments: str, **environment: str) -> dict[str, str]:
    """Return what the plan expects of each stage."""
    outcome = project.stagebake("plan", "--json", *arguments, **environment)
    assert outcome.exit_code == 0, outcome.stderr
    return {stage["name"]: stage["expected"] for stage in json.loads(outcome.stdout)["stages"]}


def said(outcome: Outcome, stage: str) -> str:
    """Return the line of a stage in the table of a plan or a build."""
    return next(line for line in outcome.stdout.splitlines() if line.startswith(f"{stage} "))


def test_plan_expect_fails_before_and_after_the_build_with_the_reason(planned: Project) -> None:
    """Plan without an engine and without git: it says what the build then does.

    With --expect, plan and build exit 1 where a stage differs, and name the reason; the build pushes the image first.
    """
    assert plan(planned, "--push", **NO_ENGINE) == dict.fromkeys(STAGES, "restore")
    planned.write({"src/page.ts": "export default 2\n\n"})
    expected = {**dict.fromkeys(STAGES, "restore"), "builder": "rebuild", "runtime": "rebuild"}
    assert plan(planned, "--push") == plan(planned) == plan(planned, "--since", "HEAD") == expected

    table = planned.stagebake("plan", "--push", "--expect", DEPENDENCIES, "--expect", "rebuild:builder")
    assert table.exit_code == 0, table.stderr
    assert "`src/page.ts` +1 line" in said(table, "builder")
    assert "parent `builder` rebuilt: runtime ← builder ← src/page.ts" in said(table, "runtime")
    guard = planned.stagebake("plan", "--push", "--expect", "restore:builder")
    assert guard.exit_code == 1
    assert "--expect restore:builder: the plan says rebuild (`src/page.ts` +1 line)" in guard.stderr

    built = planned.stagebake("build", "--push", "--expect", f"{DEPENDENCIES},builder")
    assert built.exit_code == 1
    assert "--expect restore:builder: the build reports rebuild (`src/page.ts` +1 line)" in built.stderr
    assert "runtime ← builder ← src/page.ts" in said(built, "runtime")
    assert built.ran == {"builder", "runtime"}
    assert set(planned.pushed()) == set(STAGES)


def test_plan_with_a_lost_blob_names_it_as_the_reason(planned: Project) -> None:
    """Lose a layer that a new step needs: the build runs that stage and no other, and the next plan restores all."""
    broken = Broken()
    broken.make(planned.registry.blob(blob_of(planned, "builder")), "gone")
    planned.write({"Dockerfile": FIVE["Dockerfile"].replace("AS runtime\n", "AS runtime\nRUN true\n")})
    expected = {**dict.fromkeys(STAGES, "restore"), "builder": "rebuild", "runtime": "rebuild"}
    assert plan(planned, "--push") == expected
    assert "cache not used: blob missing in the registry" in said(planned.stagebake("plan", "--push"), "builder")
    built = planned.build("--push")
    assert built.ran == {"builder", "runtime"}
    assert "cache not used: blob missing in the registry" in said(built, "builder")
    assert set(plan(planned, "--push").values()) == {"restore"}


def test_plan_without_a_ledger_says_unknown_and_the_build_still_restores(planned: Project) -> None:
    """Remove the ledger: the next change writes it again for all saved stages, as far as the merged cache goes."""
    elsewhere = {"XDG_CACHE_HOME": str(planned.folder.parent / "empty")}
    planned.registry.untag(planned.name, "cache.ledger")
    assert plan(planned, "--push", **elsewhere) == dict.fromkeys(STAGES, "unknown")
    planned.write({"src/page.ts": "export default 2\n"})
    assert planned.build("--push", **elsewhere).ran == {"builder", "runtime"}
    assert plan(planned, "--push", **elsewhere) == dict.fromkeys(STAGES, "restore")

    for stage in ("base", "python-deps", "node-deps"):
        planned.registry.untag(planned.name, f"cache-{stage}")
    verdicts = plan(planned, "--push", **elsewhere)
    planned.engine.empty()
    ran = planned.build("--push", **elsewhere).ran
    assert not {stage for stage in ran if verdicts[stage] == "restore"}


def test_plan_with_a_wrong_ledger_says_unknown_and_the_build_replaces_it(planned: Project) -> None:
    """Put another manifest under the ledger's tag: the build restores the same stages as before."""
    elsewhere = {"XDG_CACHE_HOME": str(planned.folder.parent / "empty")}
    base = planned.registry.read_manifest(planned.name, "cache-base")
    put_manifest(planned, "cache.ledger", base, base["mediaType"])
    assert planned.build("--push", **elsewhere).ran == set()
    assert set(plan(planned, "--push", **elsewhere).values()) == {"unknown"}
    planned.write({"src/page.ts": "export default 2\n"})
    assert planned.build("--push", **elsewhere).ran == {"builder", "runtime"}
    assert set(plan(planned, "--push", **elsewhere).values()) == {"restore"}


def test_plan_on_a_base_image_without_a_registry_says_unknown(five: Project) -> None:
    """Use a base image that exists on this machine only: the plan promises nothing, before and after a push."""
    if not five.engine.has_own_buildkit:
        pytest.skip("this builder sees no image of the engine: all base images come from a registry")
    five.build("--push")
    outcome = five.stagebake("plan", "--push")
    assert set(plan(five, "--push").values()) == {"unknown"}
    assert "cannot be known: `busybox:1`" in said(outcome, "base")


def test_plan_on_a_branch_starts_from_the_default_branch_s_ledger(planned: Project, registry: Registry) -> None:
    """Plan on a new branch with the default branch's ledger; a push from there writes only the branch's own."""
    before = registry.digest(planned.name, "cache.ledger")
    planned.git("checkout", "--quiet", "-b", "feature/x")
    assert set(plan(planned, "--push").values()) == {"restore"}
    planned.write({"requirements.txt": "torch==2\n"})
    planned.build("--push")
    assert set(plan(planned, "--push").values()) == {"restore"}
    assert registry.digest(planned.name, "cache.ledger") == before
    planned.git("checkout", "--quiet", "--force", "main")
    planned.write({"requirements.txt": "torch==2\n"})
    table = planned.stagebake("plan", "--push")
    assert "`requirements.txt` changed" in said(table, "python-deps")
