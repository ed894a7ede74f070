"""Look after the caches of a real repository: list, check and prune them, also while builds run."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass

import pytest

from stagebake.cache.backends import TaggedVersion
from stagebake.cache.manifest import ManifestAndConfig, config_digest
from stagebake.cache.scopes import Scope
from stagebake.inventory.deletion import Deletion, PrunePolicy, plan_prune
from stagebake.inventory.prune_caches import prune_caches
from stagebake.inventory.read_contents import read_contents
from stagebake.stores.registry import Registry
from tests.support.faults import Broken, blob_of, put_manifest, unsound
from tests.support.project import Project
from tests.support.shapes import STAGES, changed

BUILDS = int(os.environ.get("STAGEBAKE_PRUNE", "3"))
# Longer than a build here takes
GRACE_SECONDS = 15.0


@pytest.fixture
def broken() -> Iterator[Broken]:
    blobs = Broken()
    yield blobs
    blobs.mend()


def test_cache_ls_counts_what_the_registry_stores(shipped: Project) -> None:
    """List all stages; the sizes are those of the blobs on the registry's disk."""
    outcome = shipped.stagebake("cache", "ls", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    listing = json.loads(outcome.stdout)
    stages = {entry["name"]: entry for entry in listing["caches"] if entry["kind"] == "stage"}
    assert stages.keys() == set(STAGES)
    for name, entry in stages.items():
        assert (entry["scope"], entry["tags"]) == ("main", [f"cache-{name}"])
        assert entry["bytes"] == measure(shipped, f"cache-{name}")
        assert entry["created"] is not None
        assert 0 < entry["alone"] < entry["shared"] < entry["bytes"]
    assert listing["untagged"] is None
    table = shipped.stagebake("cache", "ls").stdout
    assert all(name in table for name in STAGES)


def measure(project: Project, tag: str) -> int:
    """Return the bytes of a manifest, its config and its layers on the registry's disk."""
    document = project.registry.read_manifest(project.name, tag)
    digests = {document["config"]["digest"], *(layer["digest"] for layer in document["layers"])}
    digests.add(project.registry.digest(project.name, tag))
    return sum(project.registry.blob(digest).stat().st_size for digest in digests)


def test_cache_verify_finds_repairs_and_the_next_build_restores_the_rest(shipped: Project, broken: Broken) -> None:
    """Break one cache in each way: verify names all, --repair drops them, and a build runs only what is lost.

    The lost stages are those that verify names, and the ones that depend on them.
    """
    before = shipped.pushed()
    assert shipped.stagebake("cache", "verify", "--deep").exit_code == 0
    blobs = {stage: shipped.registry.blob(blob_of(shipped, stage)) for stage in ("python-deps", "runtime")}
    image = shipped.registry.image_manifest(shipped.name, "latest")
    put_manifest(shipped, "cache1-base", image, image["mediaType"])
    broken.make(blobs["python-deps"], "gone")
    broken.make(blobs["runtime"], "flipped")
    shipped.registry.dangle(shipped.name, "cache-node-deps")

    shallow = shipped.stagebake("cache", "verify", "--json")
    assert shallow.exit_code == 1
    deep = shipped.stagebake("cache", "verify", "--deep")
    assert deep.exit_code == 1
    found = {(entry["tag"], entry["problem"]) for entry in json.loads(shallow.stdout)["broken"]}
    assert found >= {
        ("cache-python-deps", "missing"),
        ("cache-node-deps", "dangling"),
        ("cache1-base", "other_content"),
    }
    assert "wrong_bytes" not in {problem for _, problem in found}
    assert "has other bytes" in deep.stdout
    assert "rebuilds python-deps, runtime" in deep.stdout

    repaired = shipped.stagebake("cache", "verify", "--deep", "--repair")
    assert repaired.exit_code == 1  # the tag that holds an image stays
    assert "cache-python-deps: blob" in repaired.stdout
    after = json.loads(shipped.stagebake("cache", "verify", "--deep", "--json").stdout)
    assert {(entry["tag"], entry["problem"]) for entry in after["broken"]} == {("cache1-base", "other_content")}
    shipped.write({"src/page.ts": "changed\n"})
    outcome = shipped.stagebake("build", "--push")
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, shipped.pushed()) == {"python-deps", "builder", "runtime"}


def test_cache_prune_keeps_every_image_and_what_the_next_build_restores(shipped: Project) -> None:
    """Prune older results and a branch that is gone, after three pushes, beside images of several platforms.

    The dry run says the same as the prune. Every image is whole, by tag and by digest; the next build restores all.
    """
    origin = shipped.folder.parent / "origin"
    shipped.git("init", "--quiet", "--bare", str(origin))
    shipped.git("remote", "add", "origin", str(origin))
    shipped.git("push", "--quiet", "origin", "main")
    for number in range(2):
        shipped.write({"src/page.ts": f"{number}\n"})
        shipped.build("--push")
    gone = copy_caches(shipped, Scope("gone"))
    images = push_platforms(shipped)
    before = shipped.tags()

    flags = ("cache", "prune", "--keep=1", "--gone", "--json")
    dry = json.loads(shipped.stagebake(*flags, "--dry-run").stdout)
    assert shipped.tags() == before
    outcome = shipped.stagebake(*flags)
    assert outcome.exit_code == 0, outcome.stderr
    done = json.loads(outcome.stdout)
    assert {**done, "dry_run": True} == dry
    deleted = {tag for entry in done["deleted"] for tag in entry["tags"]}
    assert deleted == gone | {tag for tag in before if tag.startswith(("cache1-", "cache2-"))}
    assert shipped.tags() == before - deleted
    assert done["rewritten"] == ["cache"]
    assert 0 < done["bytes"]["remaining"] < done["bytes"]["before"]

    assert unsound(shipped) == set()
    for digest in images:
        shipped.registry.read_manifest(shipped.name, digest)
    shipped.engine.empty()
    assert shipped.build("--push").ran == set()
    assert json.loads(shipped.stagebake(*flags).stdout)["deleted"] == []


def copy_caches(project: Project, scope: Scope) -> set[str]:
    """Give a branch changed copies of the default branch's caches; return their tags."""
    with closing(Registry(project.image)) as registry:
        tags = {scope.stage_tag(stage) for stage in STAGES} | {scope.merged_tag}
        for tag in tags:
            manifest = registry.read_manifest(tag.replace(scope.suffix, ""))
            assert manifest is not None
            (config,) = registry.read_blobs([config_digest(manifest)]).values()
            assert isinstance(config, bytes)
            copied = ManifestAndConfig(manifest=manifest, config=config)
            registry.push_manifest(copied.with_annotation("copy", scope.suffix), tag)
    return tags


def push_platforms(project: Project) -> list[str]:
    """Push an index of two images without tags, and an attestation of one of them; return all digests."""
    image = project.registry.image_manifest(project.name, "latest")
    kind = image["mediaType"]
    digests = []
    for platform in ("amd64", "arm64"):
        document = {**image, "annotations": {"platform": platform}}
        put_manifest(project, platform, document, kind)
        digests.append(project.registry.digest(project.name, platform))
        project.registry.untag(project.name, platform)
    entries = [{"mediaType": kind, "digest": digest, "size": 1} for digest in digests]
    index_type = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": index_type, "manifests": entries}
    put_manifest(project, "platforms", index, index_type)
    put_manifest(project, f"sha256-{digests[0].removeprefix('sha256:')}.sig", image, kind)
    return [*digests, project.registry.digest(project.name, "platforms")]


@pytest.mark.xdist_group("prune")
def test_cache_prune_while_builds_run_takes_nothing_from_them(shipped: Project) -> None:
    """Push changes from an empty engine while another thread prunes all the time, manifests without a tag too.

    No build fails, and none runs a stage without need. STAGEBAKE_PRUNE=20 makes it twenty builds; the default is three.
    """
    ended = threading.Event()
    with ThreadPoolExecutor() as pool:
        pruning = pool.submit(prune_until, shipped, ended)
        try:
            for number in range(BUILDS):
                shipped.engine.empty()
                shipped.write({"src/page.ts": f"{number}\n"})
                assert shipped.build("--push").ran == {"builder", "runtime"}
        finally:
            ended.set()
        deleted = pruning.result()
    assert deleted
    assert unsound(shipped) == set()
    shipped.engine.empty()
    assert shipped.build("--push").ran == set()


def prune_until(project: Project, ended: threading.Event) -> list[Deletion]:
    """Prune again and again: all but one result of each stage, and what has had no tag for some seconds."""
    deleted: list[Deletion] = []
    with closing(Registry(project.image)) as registry:
        versions = StoredVersions(project, registry)
        while not ended.is_set():
            policy = PrunePolicy(now=time.time(), keep=1, grace=GRACE_SECONDS)
            plan = plan_prune(read_contents(versions, registry), {}, policy)
            result = prune_caches(versions, registry, plan)
            assert result.failure is None
            deleted += result.deleted
    return deleted


@dataclass(frozen=True)
class StoredVersions:
    """Manifests of a repository on the registry's disk, with the times of their files, as ghcr.io's API lists them."""

    project: Project
    registry: Registry
    lists_untagged: bool = True

    def list_versions(self) -> list[TaggedVersion]:
        tags: dict[str, set[str]] = {}
        for tag in self.project.tags():
            with suppress(FileNotFoundError):
                tags.setdefault(self.project.registry.digest(self.project.name, tag), set()).add(tag)
        versions = []
        for digest, touched in self.project.registry.revisions(self.project.name).items():
            named = frozenset(tags.get(digest, ()))
            versions.append(TaggedVersion(key=digest, tags=named, digest=digest, touched=touched))
        return versions

    def delete_version(self, version: TaggedVersion) -> None:
        self.registry.delete_version(version)
