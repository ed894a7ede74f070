"""Write images and caches to a registry in trouble, and read caches that are wrong in it.

docs/troubleshooting.md has this table. An image that cannot be pushed fails the build with the registry's own message;
a cache that cannot be saved causes one warning.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import pytest

from stagebake.stores.registry import Registry
from tests.engine.test_trouble_reading import RESET, STALL, TOO_MANY, assert_mended, assert_said
from tests.support.faults import BUILDKIT, STAGEBAKE, Broken, Rule, blob_of, put_blob, put_manifest
from tests.support.project import Outcome, Project
from tests.support.proxy import Fault
from tests.support.shapes import TWO, changed

STATUSES = (401, 403, 404, 429, 500, 503)
FAULTS = {**{str(status): Fault(status=status) for status in STATUSES}, "reset": RESET, "stall": STALL}
WORDS = {"reset": "connection reset|EOF|broken pipe", "stall": "the registry accepted no data"}
QUICK = {"STAGEBAKE_PATIENCE": "write=4"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def build(project: Project, what: str = "") -> Outcome:
    """Build; give up soon only what stalls: BuildKit pauses for up to 4 s before it repeats a refused request."""
    return project.stagebake("build", "--push", f"--image={project.image}:latest", **(QUICK if what == "stall" else {}))


@pytest.mark.parametrize("what", FAULTS)
def test_writing_fault_in_the_image_exits_1_and_keeps_the_old_image(two: Project, what: str) -> None:
    """Show the registry's own message; the next build pushes the new image."""
    before = two.pushed()
    rule = Rule(lambda method, path: method == "POST" and "/blobs/uploads/" in path, FAULTS[what])
    with two.registry.proxy.faults(rule, BUILDKIT):
        outcome = build(two, what)
    assert outcome.exit_code == 1
    assert rule.count > 0
    assert re.search(WORDS.get(what, "failed to push .*a rule of the tests"), outcome.stderr), outcome.stderr
    assert two.pushed() == before
    two.engine.empty()
    again = two.build("--push", f"--image={two.image}:latest")
    assert changed(before, two.pushed()) == {*again.ran, "source"} == {"image", "source"}


def test_writing_layer_too_large_names_the_step_and_its_size(project: Project) -> None:
    """Refuse each upload as a registry, or a proxy before it, does that limits the size of a layer."""
    dockerfile = (
        "FROM busybox:1 AS base\nRUN head -c 3000000 /dev/urandom > /large\nFROM base\nRUN echo small > /small\n"
    )
    project.write({"Dockerfile": dockerfile})
    project.settings()
    too_large = Fault(status=413, body=b"<html>413 Request Entity Too Large</html>")
    with project.registry.proxy.faults(
        lambda method, path: too_large if method == "PUT" and "/blobs/uploads/" in path else None, BUILDKIT
    ):
        outcome = build(project)
    assert outcome.exit_code == 1
    assert "413 Request Entity Too Large" in outcome.stderr
    hint = r"limits the size of a layer.*largest steps: stage base, `RUN head -c 3000000 \S+ > /large` \([3-9]\.\d MB"
    assert re.search(hint, outcome.stderr), outcome.stderr


def test_writing_image_refused_with_429_is_repeated_silently(two: Project) -> None:
    """Repeat with growing pauses; what ran in the first attempt is saved."""
    before = two.pushed()
    rule = Rule(lambda method, path: method == "PUT" and path.endswith("/manifests/latest"), TOO_MANY, times=2)
    with two.registry.proxy.faults(rule, BUILDKIT):
        outcome = two.build("--push", f"--image={two.image}:latest")
    assert rule.count == 3
    assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {"image", "source"}
    assert_mended(two)


@pytest.mark.parametrize("what", FAULTS)
def test_writing_fault_in_a_stage_cache_causes_one_warning(two: Project, what: str) -> None:
    """Push the image first: the next build runs again what was not saved, and saves it."""
    before = two.pushed()
    rule = Rule(lambda method, path: method == "PUT" and "/manifests/cache" in path, FAULTS[what])
    with two.registry.proxy.faults(rule, BUILDKIT):
        outcome = build(two, what)
    assert outcome.exit_code == 0, outcome.stderr
    assert rule.count > 0
    assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {"image", "source"}
    assert_said(outcome.report["warnings"], "the cache of image is not saved: ")
    two.engine.empty()
    assert two.build("--push", f"--image={two.image}:latest").ran == {"image"}
    assert_mended(two)


@pytest.mark.parametrize("what", ["403", "503", "stall"])
def test_writing_fault_in_the_merged_cache_after_the_build_causes_one_warning(two: Project, what: str) -> None:
    """Save the stage caches: the next build restores all."""
    before = two.pushed()
    rule = Rule(lambda method, path: method == "PUT" and path.endswith("/manifests/cache"), FAULTS[what])
    with two.registry.proxy.faults(rule, STAGEBAKE):
        outcome = build(two, what)
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {"image", "source"}
    assert_said(outcome.report["warnings"], "merged cache not saved: ")
    assert_mended(two)


@pytest.mark.parametrize("what", ["403", "429"])
def test_writing_fault_in_the_merged_cache_before_the_build_runs_all(two: Project, what: str) -> None:
    """Read no cache without it; all stages run and are saved."""
    before = two.pushed()
    rule = Rule(lambda method, path: method == "PUT" and "/manifests/sha256:" in path, FAULTS[what], times=4)
    with two.registry.proxy.faults(rule, STAGEBAKE):
        outcome = build(two, what)
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {"base", "image", "source"}
    assert any("no cache is read" in warning for warning in outcome.report["warnings"])
    two.engine.empty()
    again = two.stagebake("build", "--push", f"--image={two.image}:latest")
    assert (again.exit_code, again.report["warnings"]) == (0, [])
    two.engine.empty()
    assert_mended(two)


def garbage(project: Project) -> None:
    """Put a config that is not JSON."""
    manifest = project.registry.read_manifest(project.name, "cache-base")
    config = manifest["config"] | {"digest": put_blob(project, b"garbage"), "size": 7}
    put_manifest(project, "cache-base", manifest | {"config": config}, MANIFEST)


def index(project: Project) -> None:
    """Put an index where a manifest is expected; BuildKit writes one by default."""
    digest = project.registry.digest(project.name, "cache-base")
    size = project.registry.blob(digest).stat().st_size
    entry = {"mediaType": MANIFEST, "digest": digest, "size": size}
    put_manifest(project, "cache-base", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}, INDEX)


def media_type(project: Project) -> None:
    """Put the manifest of an image."""
    put_manifest(project, "cache-base", project.registry.image_manifest(project.name, "latest"), MANIFEST)


def too_large(project: Project) -> None:
    """Put a config of more than 1 MiB, which BuildKit drops silently."""
    padding = [{"digest": sha256(str(number)), "layers": [{"layer": 0}]} for number in range(10_000)]
    rewrite(project, "cache-base", lambda records: records + padding)


def another_architecture(project: Project) -> None:
    """Put a cache of another architecture, in which the same steps have other keys."""
    for stage in ("base", "image"):
        rewrite(project, f"cache-{stage}", lambda records: [r | {"digest": sha256(r["digest"])} for r in records])


def missing(project: Project) -> None:
    """Delete the tag."""
    project.registry.untag(project.name, "cache-base")


LYING: Mapping[Callable[[Project], None], tuple[str | None, set[str]]] = {
    missing: (None, {"image"}),
    garbage: ("cache-base: left out, not JSON", {"image"}),
    index: ("cache-base: left out, not a cache manifest of BuildKit", {"image"}),
    media_type: ("cache-base: left out, not a cache manifest of BuildKit", {"image"}),
    too_large: ("together the caches exceed the 1 MiB that BuildKit reads; left out: cache-base", {"image"}),
    another_architecture: (None, {"base", "image"}),
}


@pytest.mark.parametrize("make", LYING, ids=lambda function: function.__name__)
def test_push_with_a_wrong_stage_cache_overwrites_it(two: Project, make: Callable[[Project], None]) -> None:
    """Restore `base` from the cache of `image`, which has it too, or run it."""
    said, again = LYING[make]
    before = two.pushed()
    make(two)
    outcome = build(two)
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {*again, "source"}
    assert_said(outcome.report["warnings"], said)
    assert_mended(two)


@pytest.mark.parametrize(
    "command", ["echo unexpected EOF {blob}; exit 1", "echo httpReadSeeker: 416 {blob} >&2; exit 1"]
)
def test_push_with_a_failing_step_is_not_tried_again(two: Project, command: str) -> None:
    """Let a step print what looks like a broken cache: the cache is not blamed."""
    command = command.format(blob=blob_of(two, "base"))
    two.write({"Dockerfile": f"{TWO['Dockerfile']}RUN echo >> /ran; {command}\n"})
    with two.registry.proxy.watched() as seen:
        outcome = build(two)
    assert outcome.exit_code == 1
    assert re.search(r"Dockerfile:7: RUN echo >> /ran.*did not complete successfully: exit code: 1", outcome.stderr)
    assert "left out" not in outcome.stdout + outcome.stderr
    imports = [
        e for e in seen if e.agent.startswith(BUILDKIT) and e.method == "HEAD" and "/manifests/sha256:" in e.path
    ]
    assert len(imports) == 1


def test_registry_reads_sixteen_blob_sizes_at_once(two: Project) -> None:
    """Answer none of the requests before sixteen have come; each blob is asked for once."""
    gate = threading.Barrier(16, timeout=60)
    digests = [sha256(str(number)) for number in range(128)]

    def wait(_method: str, _path: str) -> None:
        gate.wait()

    proxy = two.registry.proxy
    with closing(Registry(two.image)) as registry, proxy.watched() as seen, proxy.faults(wait, STAGEBAKE):
        found = registry.read_blob_sizes(digests)
    assert found == dict.fromkeys(digests)
    assert sorted(e.path.rpartition("/")[2] for e in seen if e.method == "HEAD") == sorted(digests)


def test_push_with_wrong_bytes_in_the_merged_cache_restores_all(two: Project) -> None:
    """Keep wrong bytes of the same size in the registry: the merged cache is then written as another blob."""
    before, broken = two.pushed(), Broken()
    config = two.registry.read_manifest(two.name, "cache")["config"]["digest"]
    broken.make(two.registry.blob(config), "flipped")
    try:
        outcome = two.build("--push", f"--image={two.image}:latest")
        assert outcome.report["warnings"] == []
        assert changed(before, two.pushed()) == {*outcome.ran, "source"} == {"image", "source"}
        assert_mended(two)
    finally:
        broken.mend()


def rewrite(project: Project, tag: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """Put another cache under a tag, with other records in its config."""
    manifest = project.registry.read_manifest(project.name, tag)
    config = json.loads(project.registry.get(f"{project.name}/blobs/{manifest['config']['digest']}"))
    content = json.dumps(config | {"records": change(config["records"])}).encode()
    descriptor = manifest["config"] | {"digest": put_blob(project, content), "size": len(content)}
    put_manifest(project, tag, manifest | {"config": descriptor}, MANIFEST)


def sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
