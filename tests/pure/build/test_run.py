"""Build an image with an engine that prints prepared events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stagebake.build.result import BuildResult
from stagebake.build.run import BuildRequest, build_image
from stagebake.buildkit.engine import BakeCall, BakeResult
from stagebake.buildkit.events import Trace
from stagebake.cache.cache_config import serialize_cache
from stagebake.cache.scopes import DEFAULT_SCOPE, READ_DEFAULT, Access
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import BuildFailed
from stagebake.naming.image_tags import ImageNames
from stagebake.project.settings import Settings
from stagebake.stores.choose import BuildStores
from stagebake.stores.oci_layout import OciLayout
from tests.support.caches import cache_of, digest, layer, record

DOCKERFILE = "FROM debian AS base\nRUN one\nFROM base AS app\nRUN two\n"
GRAPH = parse_dockerfile(DOCKERFILE)
SETTINGS = Settings(image="host/name")
LAYER_SIZE = 7
NAMES = ImageNames(refs=("host/name:1",), labels={})
WRITER = Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)
STEP = "[app 2/2] RUN two"
LOST = "failed to commit 17fhb to upok3 during finalize: snapshot 17fhb does not exist"


def step_line(name: str = STEP, *, cached: bool = False, error: str = "") -> str:
    """Return the event of a vertex that has completed."""
    vertex = {
        "digest": name,
        "name": name,
        "cached": cached,
        "error": error,
        "started": "2026-01-01T10:00:00Z",
        "completed": "2026-01-01T10:00:02Z",
    }
    return json.dumps({"vertexes": [vertex]})


def failed_step(message: str) -> list[str]:
    """Return the events of a call that fails at the last step."""
    return [step_line(error=message)]


@dataclass
class ScriptedEngine:
    """Engine that answers each bake call with the next prepared lines; a failed step fails the call."""

    answers: list[list[str]]
    exports_caches: bool = True
    results: str = ""
    calls: list[BakeCall] = field(default_factory=list)

    def list_results(self) -> str:
        return self.results

    def run_bake(self, call: BakeCall, on_line: Callable[[str], None], must_stop: Callable[[], bool]) -> BakeResult:
        self.calls.append(call)
        trace = Trace()
        for line in self.answers.pop(0):
            trace.feed_line(line)
            on_line(line)
        if must_stop() or trace.first_failure():
            return BakeResult(exit_code=1, digest=None)
        return BakeResult(exit_code=0, digest="sha256:image")


def build(
    engine: ScriptedEngine,
    caches: OciLayout | None = None,
    *,
    access: Access = READ_DEFAULT,
    forced: tuple[str, ...] = (),
) -> BuildResult:
    request = BuildRequest(
        access=access,
        names=NAMES,
        dockerfile_text=DOCKERFILE,
        forced=GRAPH.force_stages(forced),
    )
    stores = BuildStores(caches=caches)
    return build_image(GRAPH, SETTINGS, request, engine, stores, ignore_progress)


def ignore_progress(_doing: str, _trace: Trace) -> None:
    """Show nothing."""


def save_app_cache(folder: Path) -> OciLayout:
    """Return a directory with a cache of the stage `app`."""
    layout = OciLayout(folder)
    push_stage_cache(layout, "app")
    return layout


def push_stage_cache(layout: OciLayout, stage: str) -> str:
    """Save a cache with one layer, the blob of the stage's name; return the digest of its manifest."""
    encoded = digest(stage).removeprefix("sha256:")
    blob = Path(layout.image, "blobs/sha256", encoded)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(bytes(LAYER_SIZE))
    cache = cache_of(layer(stage), records=[record(stage, layer=0)])
    tag = DEFAULT_SCOPE.stage_tag(stage)
    return layout.push_manifest(serialize_cache(cache), tag)


def read_statuses(result: BuildResult) -> dict[str, str]:
    return {stage.name: stage.status for stage in result.stages}


def forced_names(call: BakeCall) -> list[str]:
    document = json.loads(call.files["choices.json"])
    (target,) = document["target"].values()
    names = target.get("no-cache-filter", [])
    assert isinstance(names, list)
    return names


def test_build_image_without_caches_takes_one_bake_call() -> None:
    engine = ScriptedEngine([[step_line()]])
    result = build(engine)
    assert len(engine.calls) == 1
    assert result.digest == "sha256:image"
    assert read_statuses(result) == {"base": "restored", "app": "rebuilt"}
    assert result.warnings == ()


def test_build_image_failed_step_is_not_repeated() -> None:
    message = 'failed: process "two" did not complete successfully: exit code: 1'
    engine = ScriptedEngine([failed_step(message)])
    with pytest.raises(BuildFailed, match="RUN two"):
        build(engine)
    assert len(engine.calls) == 1


def test_build_image_bad_blob_is_dropped_and_the_build_repeated(tmp_path: Path) -> None:
    """Import the cache in the first attempt, and none in the second: its only layer is missing."""
    layout = save_app_cache(tmp_path)
    message = f"failed to copy: httpReadSeeker: could not fetch content descriptor {digest('app')}: not found"
    engine = ScriptedEngine([failed_step(message), [step_line()]], exports_caches=False)
    result = build(engine, layout, access=WRITER)
    first, second = engine.calls
    assert first.variables["CACHE"]
    assert second.variables["CACHE"] == ""
    assert result.healed == ("app",)


def test_build_image_cache_that_names_no_blob_is_left_out(tmp_path: Path) -> None:
    """Build without any cache, and say why."""
    layout = save_app_cache(tmp_path)
    message = "failed to copy: httpReadSeeker: 416 Requested Range Not Satisfiable"
    engine = ScriptedEngine([failed_step(message), [step_line()]], exports_caches=False)
    result = build(engine, layout, access=WRITER)
    assert engine.calls[1].variables["CACHE"] == ""
    assert f"built without any cache: {message}" in result.warnings


def test_build_image_lost_result_forces_the_stage_then_all() -> None:
    """Name the forced stages in a warning."""
    engine = ScriptedEngine([failed_step(LOST), failed_step(LOST), [step_line()]])
    result = build(engine)
    first, second, third = engine.calls
    assert forced_names(first) == []
    assert forced_names(second) == ["app"]
    assert '"no-cache": true' in third.files["choices.json"]
    assert [warning.partition(":")[0] for warning in result.warnings] == ["rebuilt base, app"]


def test_build_image_lost_result_of_every_stage_is_an_error() -> None:
    engine = ScriptedEngine([failed_step(LOST) for _ in range(3)])
    with pytest.raises(BuildFailed, match="during finalize") as error:
        build(engine)
    assert "restart the engine" in error.value.hint


def test_build_image_forced_step_from_a_cache_is_an_error() -> None:
    engine = ScriptedEngine([[step_line(cached=True)]])
    with pytest.raises(BuildFailed, match="stage app was forced, but `RUN two` was taken from a cache"):
        build(engine, forced=("app",))


def test_build_image_forced_step_of_an_only_stage_names_the_stage() -> None:
    """Name it as the report does: BuildKit's steps have no stage where there is only one."""
    text = "FROM debian\nRUN two\n"
    graph = parse_dockerfile(text)
    request = BuildRequest(
        access=READ_DEFAULT,
        names=NAMES,
        dockerfile_text=text,
        forced=graph.force_stages(graph.names),
    )
    engine = ScriptedEngine([[step_line("[2/2] RUN two", cached=True)]])
    with pytest.raises(BuildFailed, match=f"stage {graph.final.name} was forced"):
        build_image(graph, SETTINGS, request, engine, BuildStores(), ignore_progress)


def test_build_image_step_that_ran_in_a_failed_attempt_counts_as_run() -> None:
    """Find the result of the first attempt cached in the second one."""
    first = [step_line("[base 2/2] RUN one"), step_line(error=LOST)]
    second = [step_line("[base 2/2] RUN one", cached=True), step_line()]
    result = build(ScriptedEngine([first, second]))
    assert read_statuses(result) == {"base": "rebuilt", "app": "rebuilt"}


def test_build_image_unreadable_cache_is_a_warning() -> None:
    line = step_line("importing cache manifest from host/name:cache", error="503")
    result = build(ScriptedEngine([[line, step_line()]]))
    assert result.warnings == ("a cache was not read: 503",)
