"""Keep the content of cache mounts across empty engines."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

import pytest

from tests.support.engine import Engine
from tests.support.project import Project
from tests.support.proxy import Exchange, Fault
from tests.support.registry import Registry
from tests.support.shapes import draw
from tests.support.signals import interruptible

pytestmark = pytest.mark.xdist_group("mounts")

ON = "cache-mounts = true\n"
# Runs before the mounts and takes seconds, as real steps do: meanwhile stagebake interrupts the build
SLOW = "RUN sleep 2"
KINDS: Mapping[str, str] = {
    "plain": "target=/mnt",
    "id": "id=of-$TOOL,target=/mnt",
    "variables": "target=$STORE",
    "owned": "id=owned,target=/mnt,uid=1000,gid=1000,mode=0700",
    "from-stage": "id=from-stage,target=/mnt,from=seed,source=/start",
    "from-image": "id=from-image,target=/mnt,from=example.test/tools:1",
    "locked": "id=locked,target=/mnt,sharing=locked",
    "private": "id=private,target=/mnt,sharing=private",
    "relative": "id=relative,target=here/..//there",
}


def fetch(kind: str, options: str) -> str:
    """Return a RUN that fetches the packages that its mount lacks, and writes down which."""
    place = next(part.partition("=")[2] for part in options.split(",") if part.startswith("target="))
    return (
        f"RUN --mount=type=cache,{options} cd {place} && for p in $(cat /packages.txt); do [ -e $p ] || "
        f"{{ head -c16 /dev/urandom | md5sum > $p; echo $p >> /{kind}.txt; }}; done; touch /{kind}.txt"
    )


RUNS = "\n".join(fetch(kind, options) for kind, options in KINDS.items())
DOCKERFILE = f"""\
FROM busybox:1 AS seed
RUN mkdir /start && echo seeded > /start/seeded
FROM busybox:1 AS base
ENV STORE=/store
FROM base AS deps
ARG TOOL=tool
WORKDIR /work
COPY packages.txt /
{SLOW}
{RUNS}
FROM busybox:1 AS app
COPY --from=deps /*.txt /
COPY code.txt /
{draw("app")}
"""
SMALL = f"""\
FROM busybox:1 AS deps
COPY packages.txt /
{SLOW}
{fetch("plain", KINDS["plain"])}
FROM busybox:1 AS app
{fetch("early", "target=/early")}
COPY --from=deps /*.txt /
COPY code.txt /
{draw("app")}
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """Push the Dockerfile with two cache mounts once; return the name of the image."""
    folder = tmp_path_factory.mktemp("pushed") / "project"
    folder.mkdir()
    project = Project(folder=folder, name="mounted", engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    begin(project, SMALL)
    engine.empty()
    project.build("--push")
    return project.name


@pytest.fixture
def mounted(pushed: str, project: Project) -> Project:
    """Return that repository with its image, caches and mounts in the registry, and an empty engine."""
    begin(project, SMALL)
    project.registry.copy(pushed, project.name)
    return project


def begin(project: Project, dockerfile: str, settings: str = ON) -> None:
    project.write({"Dockerfile": dockerfile, "packages.txt": "one\n", "code.txt": "1\n"})
    project.settings(settings)
    project.commit()


def add_a_package(project: Project) -> None:
    project.write({"packages.txt": "one two\n"})


def of_mounts(project: Project, seen: list[Exchange], tag: str = "cache.mount") -> list[Exchange]:
    """Return the requests for a mount: for its tags, and for all blobs in the manifests under them."""
    tags = [name for name in project.tags() if name.startswith(tag)]
    manifests = [project.registry.read_manifest(project.name, name) for name in tags]
    blobs = {blob["digest"] for manifest in manifests for blob in (manifest["config"], *manifest["layers"])}
    return [e for e in seen if "cache.mount" in e.path or any(blob in e.path for blob in blobs)]


def test_mounts_of_every_kind_are_restored_on_an_empty_engine(project: Project) -> None:
    """Declare mounts by target, id, owner, stage, image, variable and sharing: no known package is fetched again."""
    begin(project, DOCKERFILE)
    first = project.build("--push")
    assert {project.pushed()[kind] for kind in KINDS} == {"one"}
    assert len(first.report["mounts"]) == len(KINDS)
    assert all(mount["saved"] and mount["restored"] is None for mount in first.report["mounts"])

    project.engine.empty()
    add_a_package(project)
    second = project.build("--push")
    assert {kind: project.pushed()[kind] for kind in KINDS} == dict.fromkeys(KINDS, "two")
    assert second.ran == {"deps", "app"}
    assert all(mount["saved"] and mount["restored"] for mount in second.report["mounts"])

    project.engine.empty()
    third = project.build("--push")
    assert third.ran == set()
    assert third.report["mounts"] == []


def test_mounts_of_restored_stages_cause_no_request(mounted: Project) -> None:
    """Change the code, and then nothing: the stages with mounts are restored, without a request for a mount."""
    for code in ("1\n", "2\n"):
        mounted.write({"code.txt": code})
        mounted.engine.empty()
        with mounted.registry.proxy.watched() as seen:
            outcome = mounted.build("--push")
        assert of_mounts(mounted, seen) == []
        assert outcome.report["mounts"] == []
    assert outcome.ran == {"app"}


def test_mounts_restored_during_a_build_leave_one_report_of_all_stages(mounted: Project) -> None:
    """Interrupt the build to restore a mount: what had run by then counts as run, and its cache is saved."""
    mounted.write({"Dockerfile": SMALL.replace("COPY packages", f"{draw('before')}\nCOPY packages")})
    outcome = mounted.build("--push")
    assert outcome.ran == {"deps", "app"}
    before = mounted.pushed()
    mounted.engine.empty()
    assert mounted.build("--push").ran == set()
    assert mounted.pushed() == before


def test_mounts_with_unchanged_content_are_not_saved_again(mounted: Project) -> None:
    """Run a stage whose mount keeps its content: nothing is pushed for it."""
    mounted.write({"packages.txt": "one \n"})
    with mounted.registry.proxy.watched() as seen:
        outcome = mounted.build("--push")
    assert outcome.ran == {"deps", "app"}
    (carried,) = outcome.report["mounts"]
    assert carried["restored"]
    assert carried["saved"] is None
    assert all(exchange.method in ("GET", "HEAD") for exchange in of_mounts(mounted, seen))


def test_mounts_of_a_forced_stage_start_empty_and_are_saved(mounted: Project) -> None:
    """Force the stage: BuildKit empties its mount, so nothing is restored; the new content replaces the old."""
    outcome = mounted.build("--push", "--no-cache", "deps")
    assert mounted.pushed()["plain"] == "one"
    assert [mount["restored"] for mount in outcome.report["mounts"] if mount["id"] == "/mnt"] == [None]
    assert all(mount["saved"] for mount in outcome.report["mounts"])


def test_mounts_over_the_size_limit_are_not_saved_and_warned_about(mounted: Project) -> None:
    """Name the size in the warning; the content that was saved before stays."""
    before = mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt"))
    add_a_package(mounted)
    outcome = mounted.stagebake("build", "--push", STAGEBAKE_CACHE_MOUNTS_LIMIT="50")
    (warning,) = outcome.report["warnings"]
    assert warning.startswith("cache mount /mnt was not saved: it holds 72 bytes, more than cache-mounts-limit (50)")
    assert "--no-cache deps" in warning
    assert outcome.exit_code == 0
    assert mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt")) == before


@pytest.mark.parametrize("what", ["restoring", "saving"])
def test_mounts_that_the_registry_refuses_cause_one_warning(mounted: Project, what: str) -> None:
    """Refuse reading or writing: the image is pushed, and the saved content stays."""
    before = mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt"))
    layer = before["layers"][0]["digest"]
    add_a_package(mounted)

    def refuse(method: str, path: str) -> Fault | None:
        if what == "restoring":
            return Fault(status=404) if layer in path and method == "GET" else None
        return Fault(status=403) if "/manifests/cache.mount" in path and method == "PUT" else None

    with mounted.registry.proxy.faults(refuse):
        outcome = mounted.stagebake("build", "--push")
    assert outcome.exit_code == 0
    assert outcome.ran == {"deps", "app"}
    (warning,) = outcome.report["warnings"]
    if what == "restoring":
        assert warning.startswith("cache mount /mnt was not restored: ")
        assert mounted.pushed()["plain"].split() == ["one", "two"]
    else:
        assert warning.startswith("cache mount /mnt was not saved: ")
        assert mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt")) == before


@pytest.mark.parametrize("garbage", ["<html>", "[]", '{"layers": [{}]}', '{"layers": 7}'])
def test_mounts_with_an_invalid_manifest_are_warned_about_and_replaced(mounted: Project, garbage: str) -> None:
    """Answer garbage for a mount's tag: a warning names it, and the mount's present content overwrites it."""
    add_a_package(mounted)

    def answer(method: str, path: str) -> Fault | None:
        return (
            Fault(status=200, body=garbage.encode()) if "/manifests/cache.mount" in path and method == "GET" else None
        )

    with mounted.registry.proxy.faults(answer):
        outcome = mounted.stagebake("build", "--push")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.ran == {"deps", "app"}
    assert outcome.report["warnings"][0].startswith("cache mounts are not read: cache.mount")
    assert mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt"))["layers"]


def test_mounts_save_interrupted_keeps_the_old_content(mounted: Project) -> None:
    """Interrupt the save after image and caches are pushed: only the new content is lost."""
    before = mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt"))
    add_a_package(mounted)

    reached, over = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> Fault | None:
        if "/manifests/cache.mount" not in path or method != "PUT":
            return None
        reached.set()
        over.wait()
        return Fault(reset=True)

    command = (sys.executable, "-m", "stagebake", "build", "--push")
    with mounted.registry.proxy.faults(hold):
        with interruptible():
            running = subprocess.Popen(
                command, cwd=mounted.folder, env=mounted.engine.environment(), stderr=subprocess.PIPE, text=True
            )
        try:
            assert reached.wait(120)
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=120)
        finally:
            over.set()
            running.kill()
    assert running.returncode == 130
    assert mounted.pushed()["plain"] == "two"
    assert mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt")) == before


def test_mounts_of_a_read_only_build_are_restored_and_not_saved(mounted: Project) -> None:
    add_a_package(mounted)
    tags = mounted.tags()
    outcome = mounted.build()
    assert [(mount["id"], mount["saved"]) for mount in outcome.report["mounts"]] == [("/mnt", None)]
    assert mounted.loaded()["plain"] == "two"
    assert mounted.tags() == tags


def test_mounts_on_a_branch_read_the_default_branch_and_are_saved_separately(mounted: Project) -> None:
    """Fetch only new packages in a branch's first push; the default branch's content stays.

    A step before the change is restored, so its mount is not moved.
    """
    before = mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt"))
    add_a_package(mounted)
    mounted.git("checkout", "--quiet", "-b", "topic")
    outcome = mounted.build("--push")
    assert outcome.ran == {"deps", "app"}
    (carried,) = outcome.report["mounts"]
    assert carried["id"] == "/mnt"
    assert carried["restored"]
    assert carried["saved"]
    assert mounted.registry.read_manifest(mounted.name, tag_of(mounted, "mnt")) == before
    assert len([tag for tag in mounted.tags() if tag.startswith("cache.mount_topic.")]) == 1


def test_mounts_of_stages_without_a_shell_are_warned_about(project: Project) -> None:
    """Use a base without any program to copy, and scratch: a warning for each, and the image is pushed."""
    dockerfile = """\
FROM busybox:1 AS base
FROM scratch AS bare
COPY --from=base /bin/busybox /bin/sh
RUN --mount=type=cache,target=/bare echo 1 > /bare/file
FROM example.test/tools:1 AS tools
COPY --from=base /bin/busybox /bin/sh
RUN --mount=type=cache,target=/tools echo 1 > /tools/file
FROM base AS app
COPY --from=bare /bin/sh /bare
COPY --from=tools /bin/sh /tools
"""
    begin(project, dockerfile)
    outcome = project.stagebake("build", "--push")
    assert outcome.exit_code == 0, outcome.stderr
    first, second = outcome.report["warnings"]
    assert first.startswith("Dockerfile:4: cache mount /bare is not saved: its stage starts from scratch")
    assert second.startswith("cache mounts not saved: /tools: ")


def tag_of(project: Project, name: str) -> str:
    (tag,) = (tag for tag in project.tags() if tag.startswith(f"cache.mount-{name}."))
    return tag
