"""Read caches from a registry in trouble: the image is right, the exit code 0, and one warning names the loss.

docs/troubleshooting.md has this table. A source file changed, so `image` always runs and the layer of `base` is pulled
for it: whether `base` runs again tells whether its cache was used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from stagebake.cache.manifest import ManifestAndConfig, sha256_digest
from tests.support.faults import BUILDKIT, STAGEBAKE, Pattern, Rule, blob_of, unsound
from tests.support.project import Project
from tests.support.proxy import Fault
from tests.support.shapes import changed

STATUSES = (401, 403, 404, 429, 500, 503)
# Seconds: BuildKit pauses for up to 4 s before it repeats a request; a stall is given up sooner
PATIENT, QUICK = {"STAGEBAKE_PATIENCE": "read=20"}, {"STAGEBAKE_PATIENCE": "read=4"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """`said` is the one warning, None for none; `again` are the stages that run; `times` is how often it goes wrong."""

    fault: Fault
    said: str | None
    again: str = "base image"
    healed: str = ""
    times: int | None = None


RESET, STALL = Fault(reset=True), Fault(stall=True)
TOO_MANY = Fault(status=429, body=b'{"errors":[{"code":"TOOMANYREQUESTS","message":"later"}]}')
UNREAD = r"no cache is read: .*GET answered {} \(FAULT: a rule of the tests\)"

COMPOSE = {
    **{
        str(status): Row(fault=Fault(status=status), said=UNREAD.format(status)) for status in (401, 403, 429, 500, 503)
    },
    "404": Row(fault=Fault(status=404), said=None),
    "reset": Row(fault=RESET, said="no cache is read: .*registry not reached"),
    # Six tags, two requests each; requests after the build are answered
    "stall": Row(fault=STALL, said="no cache is read: .*registry not reached", times=12),
    "429 once": Row(fault=Fault(status=429), said=None, again="image", times=1),
    "503 twice": Row(fault=Fault(status=503), said=None, again="image", times=2),
    "reset once": Row(fault=RESET, said=None, again="image", times=1),
    "garbage": Row(fault=Fault(status=200, body=b"<html>"), said="cache-base.*: left out, not JSON"),
}

# One or two failures do no harm: BuildKit repeats a request, and stagebake repeats the build once
IMPORT = {
    **{str(status): Row(fault=Fault(status=status), said="a cache was not read: ") for status in STATUSES},
    "reset": Row(fault=RESET, said="a cache was not read: "),
    "503 once": Row(fault=Fault(status=503), said=None, again="image", times=1),
}

PULL = {
    **{str(status): Row(fault=Fault(status=status), said=None, healed="base") for status in STATUSES},
    "reset": Row(fault=RESET, said=None, healed="base"),
    "short": Row(fault=Fault(truncate=True), said=None, healed="base"),
    "flipped": Row(fault=Fault(flip=True), said=None, healed="base"),
    "stall": Row(fault=STALL, said="built without any cache: the registry sent no data"),
    "403 once": Row(fault=Fault(status=403), said=None, again="image", times=1),
}


def check(project: Project, meant: Pattern, agent: str, row: Row) -> None:
    """Build while there is trouble, and again on an empty engine when it has passed."""
    before = project.pushed()
    rule = Rule(meant, row.fault, times=row.times)
    with project.registry.proxy.faults(rule, agent):
        outcome = project.stagebake(
            "build", "--push", f"--image={project.image}:latest", **(QUICK if row.fault.stall else PATIENT)
        )
    assert outcome.exit_code == 0, outcome.stderr
    assert rule.count > 0
    after = project.pushed()
    assert changed(before, after) == outcome.ran | {"source"} == {*row.again.split(), "source"}
    assert after["source"] == project.name
    assert_said(outcome.report["warnings"], row.said)
    assert row.healed in ("", *outcome.report["healed"])
    assert bool(row.healed) == bool(outcome.report["healed"])
    assert "stamina" not in outcome.stderr
    assert "retry_scheduled" not in outcome.stderr
    assert_mended(project)


def assert_said(warnings: list[str], said: str | None) -> None:
    """Check that there is this one warning, or none."""
    if said is None:
        assert warnings == []
    else:
        assert len(warnings) == 1, warnings
        assert re.search(said, warnings[0]), warnings


def assert_mended(project: Project) -> None:
    """Check that the next build restores all, without a warning."""
    before = project.pushed()
    project.engine.empty()
    again = project.build("--push", f"--image={project.image}:latest")
    assert (again.ran, again.report["healed"]) == (set(), [])
    assert project.pushed() == before
    assert unsound(project) == set()


def imported_paths(project: Project) -> tuple[str, ...]:
    """Return how the paths end by which a build imports the merged cache: its manifest names the day of the build."""
    merged = ManifestAndConfig(manifest=project.registry.get(f"{project.name}/manifests/cache"), config=b"")
    today = datetime.now(UTC).date()
    days = (today, today + timedelta(days=1))
    manifests = [merged.with_annotation("stagebake.day", day.isoformat()).manifest for day in days]
    return tuple(f"/manifests/{sha256_digest(manifest)}" for manifest in manifests)


@pytest.mark.parametrize("what", COMPOSE)
def test_reading_fault_in_stage_caches_costs_at_most_their_stages(two: Project, what: str) -> None:
    """Break what stagebake itself reads before the build."""
    check(two, lambda method, path: method == "GET" and "/manifests/cache" in path, STAGEBAKE, COMPOSE[what])


@pytest.mark.parametrize("what", IMPORT)
def test_reading_fault_in_the_merged_cache_costs_at_most_the_cache(two: Project, what: str) -> None:
    """Break the merged cache that BuildKit reads by its digest; merging again gives the same digest on one day."""
    paths = imported_paths(two)
    check(two, lambda _method, path: path.endswith(paths), BUILDKIT, IMPORT[what])


def test_reading_stall_of_the_merged_cache_exits_1_and_the_engine_recovers(two: Project) -> None:
    """Stall the import: BuildKit ignores the cancellation, so the build fails with a hint.

    The engine works again once the registry has let go.
    """
    before, paths = two.pushed(), imported_paths(two)
    with two.registry.proxy.faults(Rule(lambda _method, path: path.endswith(paths), STALL), BUILDKIT):
        outcome = two.stagebake("build", "--push", f"--image={two.image}:latest", **QUICK)
    assert outcome.exit_code == 1
    assert "the engine made no progress" in outcome.stderr
    assert "restart the engine" in outcome.stderr
    assert two.pushed() == before
    again = two.build("--push", f"--image={two.image}:latest")
    assert changed(before, two.pushed()) == {*again.ran, "source"} == {"image", "source"}
    assert_mended(two)


@pytest.mark.parametrize("what", PULL)
def test_reading_fault_in_a_layer_heals_its_stage(two: Project, what: str) -> None:
    """Break a layer that BuildKit pulls while it builds; its stage is built again, as another blob."""
    blob = blob_of(two, "base")
    check(two, lambda method, path: method == "GET" and path.endswith(blob), BUILDKIT, PULL[what])


@pytest.mark.parametrize("methods", ["HEAD", "GET HEAD"])
def test_reading_blobs_behind_a_redirect_works(two: Project, methods: str) -> None:
    """Redirect blobs to another origin: caches are read, saved and read again."""
    before = two.pushed()
    rule = Rule(
        lambda method, path: method in methods.split() and "/blobs/sha256:" in path, Fault(status=307, away=True)
    )
    with two.registry.proxy.faults(rule):
        outcome = two.build("--push", f"--image={two.image}:latest")
        assert outcome.report["warnings"] == []
        assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {"image", "source"}
        two.engine.empty()
        again = two.build("--push", f"--image={two.image}:latest")
        assert (again.ran, again.report["warnings"]) == (set(), [])
    assert rule.count > 0
    assert_mended(two)
