"""Save and restore cache mounts in a directory, with bake calls that write prepared content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stagebake.build.cache_mounts import MOUNT_STAGE
from stagebake.build.mount_sync import MountSync
from stagebake.build.result import CarriedMount
from stagebake.buildkit.engine import BakeCall, BakeResult
from stagebake.buildkit.events import Trace
from stagebake.cache.manifest import ManifestAndConfig
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.project.settings import Settings
from stagebake.stores.oci_layout import OciLayout
from tests.pure.build.test_run import ignore_progress, step_line

DOCKERFILE = "FROM debian AS app\nRUN --mount=type=cache,target=/c one\n"
GRAPH = parse_dockerfile(DOCKERFILE)
ACCESS = Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)
RAN = step_line("[app 2/2] RUN one")
LISTING = "81a4 0 0 10 5 ./file\n"
LAYER_SIZE = 7


@dataclass
class MountEngine:
    """Engine that writes a listing into a folder, or pushes a mount into a directory; `failing` calls fail."""

    layout: OciLayout
    listing: str = LISTING
    failing: str = "nothing"
    exports_caches: bool = True
    outputs: list[str] = field(default_factory=list)

    def list_results(self) -> str:
        return ""

    def run_bake(self, call: BakeCall, on_line: Callable[[str], None], _must_stop: Callable[[], bool]) -> BakeResult:
        document = json.loads(call.files["mounts.json"])
        target = document["target"][MOUNT_STAGE]
        assert target["dockerfile-inline"].startswith(DOCKERFILE)
        (output,) = target["output"]
        kind = output.partition(",")[0]
        self.outputs.append(kind)
        if kind == self.failing:
            on_line("ERROR: 403")
            return BakeResult(exit_code=1, digest=None)
        if kind == "type=local":
            folder = output.removeprefix("type=local,dest=")
            Path(folder, "0").write_text(self.listing, encoding="utf-8")
        if kind == "type=image":
            self.push_mount(output)
        return BakeResult(exit_code=0, digest=None)

    def push_mount(self, output: str) -> None:
        found = re.search(r"name=[^,]*:(?P<tag>[^,:]+),.*annotation\.(?P<name>[^=]+)=(?P<value>.+)$", output)
        assert found
        manifest: dict[str, Any] = {
            "annotations": {found["name"]: found["value"]},
            "layers": [{"digest": "sha256:layer", "size": LAYER_SIZE}],
        }
        document = ManifestAndConfig(manifest=json.dumps(manifest).encode(), config=b"{}")
        self.layout.push_manifest(document, found["tag"])


@dataclass
class Clock:
    """Clock that is set by hand, in seconds."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


def make_sync(
    engine: MountEngine,
    *,
    limit: int = 1000,
    access: Access = ACCESS,
    forced: tuple[str, ...] = (),
    clock: Clock | None = None,
) -> MountSync:
    return MountSync(
        graph=GRAPH,
        settings=Settings(image="host/name", cache_mounts=True, cache_mounts_limit=limit),
        dockerfile_text=DOCKERFILE,
        access=access,
        forced=GRAPH.force_stages(forced),
        files={},
        engine=engine,
        repository=engine.layout,
        progress=ignore_progress,
        warnings=[],
        clock=clock or Clock(),
    )


def feed_lines(*lines: str) -> Trace:
    trace = Trace()
    for line in lines:
        trace.feed_line(line)
    return trace


@pytest.fixture
def engine(tmp_path: Path) -> MountEngine:
    return MountEngine(OciLayout(tmp_path))


def save_once(engine: MountEngine) -> None:
    """Save the mount, and forget the calls."""
    make_sync(engine).save_mounts(feed_lines(RAN))
    engine.outputs.clear()


def test_save_mounts_used_mount_is_listed_and_pushed(engine: MountEngine) -> None:
    sync = make_sync(engine)
    sync.save_mounts(feed_lines(RAN))
    assert engine.outputs == ["type=local", "type=image"]
    assert sync.carried_mounts == (CarriedMount(id="/c", saved=LAYER_SIZE),)
    assert sync.warnings == []


def test_save_mounts_unused_mount_is_not_listed(engine: MountEngine) -> None:
    make_sync(engine).save_mounts(feed_lines(step_line("[app 2/2] RUN one", cached=True)))
    assert engine.outputs == []


def test_save_mounts_same_content_is_not_pushed_again(engine: MountEngine) -> None:
    save_once(engine)
    sync = make_sync(engine)
    sync.save_mounts(feed_lines(RAN))
    assert engine.outputs == ["type=local"]
    assert sync.carried_mounts == ()


@pytest.mark.parametrize("listing", ["", "41ed 0 0 4096 1 .\n"], ids=["nothing", "folder"])
def test_save_mounts_empty_mount_is_not_pushed(engine: MountEngine, listing: str) -> None:
    engine.listing = listing
    make_sync(engine).save_mounts(feed_lines(RAN))
    assert engine.outputs == ["type=local"]


def test_save_mounts_content_over_the_limit_is_a_warning(engine: MountEngine) -> None:
    sync = make_sync(engine, limit=9)
    sync.save_mounts(feed_lines(RAN))
    (warning,) = sync.warnings
    assert warning.startswith("cache mount /c was not saved: it holds 10 bytes, more than cache-mounts-limit (9)")
    assert warning.endswith("--no-cache app")


@pytest.mark.parametrize(
    ("failing", "warning"),
    [
        ("type=local", "cache mounts not saved: /c: 403"),
        ("type=image", "cache mount /c was not saved: 403"),
    ],
)
def test_save_mounts_failed_call_is_a_warning(engine: MountEngine, failing: str, warning: str) -> None:
    engine.failing = failing
    sync = make_sync(engine)
    sync.save_mounts(feed_lines(RAN))
    assert sync.warnings == [warning]


def test_save_mounts_build_without_write_access_saves_nothing(engine: MountEngine) -> None:
    access = Access(reads=(DEFAULT_SCOPE,), writes=None)
    make_sync(engine, access=access).save_mounts(feed_lines(RAN))
    assert engine.outputs == []


def test_restore_mounts_saved_content_is_restored_before_the_step(engine: MountEngine) -> None:
    """Interrupt the build when the step begins, and only once."""
    save_once(engine)
    clock = Clock()
    sync = make_sync(engine, clock=clock)
    trace = feed_lines(RAN)
    sync.observe_trace(trace)
    clock.seconds += 1
    assert sync.is_due
    sync.restore_mounts(trace)
    assert engine.outputs == ["type=cacheonly"]
    assert sync.carried_mounts == (CarriedMount(id="/c", restored=LAYER_SIZE),)
    sync.observe_trace(trace)
    clock.seconds += 1
    assert not sync.is_due


def test_is_due_result_below_the_step_is_being_committed_waits(engine: MountEngine) -> None:
    """Interrupt no build in the moment in which BuildKit would lose a step's result."""
    save_once(engine)
    clock = Clock()
    sync = make_sync(engine, clock=clock)
    sync.observe_trace(feed_lines(RAN))
    assert not sync.is_due
    clock.seconds += 0.4
    assert not sync.is_due
    clock.seconds += 0.2
    assert sync.is_due


def test_restore_mounts_failed_call_is_a_warning_and_saves_the_mount_again(engine: MountEngine) -> None:
    """Save the mount although the content that was found equals the saved one: it may be incomplete."""
    save_once(engine)
    engine.failing = "type=cacheonly"
    sync = make_sync(engine)
    trace = feed_lines(RAN)
    sync.observe_trace(trace)
    sync.restore_mounts(trace)
    assert sync.warnings == ["cache mount /c was not restored: 403"]
    sync.save_mounts(trace)
    assert engine.outputs == ["type=cacheonly", "type=local", "type=image"]


def test_observe_trace_without_saved_content_does_not_interrupt(engine: MountEngine) -> None:
    clock = Clock()
    sync = make_sync(engine, clock=clock)
    sync.observe_trace(feed_lines(RAN))
    clock.seconds += 1
    assert not sync.is_due


def test_observe_trace_forced_stage_does_not_interrupt(engine: MountEngine) -> None:
    """BuildKit empties the mounts of a forced stage."""
    save_once(engine)
    clock = Clock()
    sync = make_sync(engine, clock=clock, forced=("app",))
    sync.observe_trace(feed_lines(RAN))
    clock.seconds += 1
    assert not sync.is_due


def test_observe_trace_long_running_step_is_not_interrupted(engine: MountEngine) -> None:
    """Say what the interruption would have undone."""
    save_once(engine)
    clock = Clock()
    sync = make_sync(engine, clock=clock)
    started = {"digest": "1", "name": "[app 2/2] RUN one", "started": "2026-01-01T10:00:00Z"}
    sync.observe_trace(feed_lines(json.dumps({"vertexes": [started]})))
    clock.seconds += 1
    assert not sync.is_due
    (warning,) = sync.warnings
    assert re.match(r"cache mounts not restored: /c: it would have undone \d+ s of the build", warning)
