"""Save stage caches in a directory, with bake calls that write prepared caches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stagebake.build.cache_saver import CacheSaver, push_merged_cache
from stagebake.build.result import SavedCache
from stagebake.buildkit.engine import BakeResult
from stagebake.buildkit.events import Trace
from stagebake.buildkit.stall_timer import StallTimer
from stagebake.cache.cache_refs import read_stage_caches
from stagebake.cache.manifest import ManifestAndConfig
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import RegistryError
from stagebake.generate.bake_file import BakeOptions
from stagebake.project.settings import Settings
from stagebake.stores.oci_layout import OciLayout
from tests.pure.build.test_run import LAYER_SIZE, ScriptedEngine, ignore_progress, push_stage_cache, step_line

GRAPH = parse_dockerfile("FROM debian AS base\nRUN one\nFROM base AS app\nRUN two\n")
ACCESS = Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)


class ReadOnlyMerge(OciLayout):
    """Directory that accepts every cache but the merged one."""

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        if tag == DEFAULT_SCOPE.merged_tag:
            raise RegistryError("403", "log in")
        return super().push_manifest(document, tag)


@dataclass
class SavedBuild:
    """Build whose caches are saved into a directory; `failing` are the stages that cannot be saved."""

    layout: OciLayout
    failing: frozenset[str] = frozenset()
    events: tuple[str, ...] = ()
    exports_caches: bool = True
    is_forced: bool = False
    graph: StageGraph = GRAPH
    options: list[BakeOptions] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def save(self, rebuilt: Iterable[str]) -> dict[str, SavedCache]:
        saver = CacheSaver(
            graph=self.graph,
            settings=Settings(image="host/name"),
            access=ACCESS,
            scope=DEFAULT_SCOPE,
            repository=self.layout,
            images=None,
            stage_caches=read_stage_caches(self.layout, GRAPH, ACCESS),
            imported="host/name@sha256:imported",
            is_forced=self.is_forced,
            engine=ScriptedEngine([], exports_caches=self.exports_caches),
            run_bake=self.run_bake,
            progress=ignore_progress,
            warnings=self.warnings,
        )
        return saver.save_caches(frozenset(rebuilt), None)

    def run_bake(self, doing: str, options: BakeOptions, _stall_timer: StallTimer) -> tuple[BakeResult, Trace]:
        """Write a cache with one layer of the stage's name, as BuildKit would."""
        self.calls.append(doing)
        self.options.append(options)
        trace = Trace()
        for line in self.events:
            trace.feed_line(line)
        if options.stage in self.failing:
            trace.feed_line("ERROR: 403")
            return BakeResult(exit_code=1, digest=None), trace
        exported = push_stage_cache(self.layout, options.stage)
        status = {"id": f"writing cache manifest {exported}", "vertex": ""}
        trace.feed_line(json.dumps({"statuses": [status]}))
        return BakeResult(exit_code=0, digest=None), trace


def added_bytes(saved: Mapping[str, SavedCache]) -> dict[str, int]:
    """Return the bytes of the new layers of each stage that was saved."""
    return {stage: entry.bytes for stage, entry in saved.items() if entry.saved}


def test_save_caches_rebuilt_stage_is_saved_with_its_dependents(tmp_path: Path) -> None:
    """Save one stage per bake call, merge the caches, and read back what they contain."""
    build = SavedBuild(OciLayout(tmp_path))
    saved = build.save({"base"})
    assert build.calls == ["saving base", "saving app"]
    assert added_bytes(saved) == {"base": LAYER_SIZE, "app": LAYER_SIZE}
    assert all(entry.evidence for entry in saved.values())
    assert build.layout.read_manifest(DEFAULT_SCOPE.merged_tag) is not None
    assert build.warnings == []


def test_save_caches_final_stage_is_saved_from_the_image_s_layers(tmp_path: Path) -> None:
    """Import what the build of the image imported; the other stages import nothing that the build replaced."""
    build = SavedBuild(OciLayout(tmp_path))
    build.save({"base"})
    assert [(options.stage, options.image_layers, options.cache) for options in build.options] == [
        ("base", False, None),
        ("app", True, "host/name@sha256:imported"),
    ]


@pytest.mark.parametrize(
    ("is_forced", "dockerfile"),
    [
        (True, "FROM debian AS base\nRUN one\nFROM base AS app\nRUN two\n"),
        (False, "FROM debian\nRUN one\nFROM debian AS app\nCOPY --from=0 /a /a\n"),
    ],
)
def test_save_caches_of_a_forced_build_or_an_unnamed_stage_holds_every_step(
    tmp_path: Path, is_forced: bool, dockerfile: str
) -> None:
    build = SavedBuild(OciLayout(tmp_path), is_forced=is_forced, graph=parse_dockerfile(dockerfile))
    build.save({"app"})
    (options,) = [options for options in build.options if options.stage == "app"]
    assert (options.image_layers, options.cache) == (False, None)


def test_save_caches_known_layers_are_not_counted_again(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    SavedBuild(layout).save({"base", "app"})
    saved = SavedBuild(layout).save({"app"})
    assert added_bytes(saved) == {"app": 0}


def test_save_caches_restored_stages_save_nothing(tmp_path: Path) -> None:
    SavedBuild(OciLayout(tmp_path)).save({"base", "app"})
    again = SavedBuild(OciLayout(tmp_path))
    assert again.save(()) == {}
    assert again.calls == []


def test_save_caches_missing_merged_cache_is_written_again(tmp_path: Path) -> None:
    """Run no bake call: every stage cache is stored."""
    layout = OciLayout(tmp_path)
    push_stage_cache(layout, "base")
    push_stage_cache(layout, "app")
    build = SavedBuild(layout)
    assert build.save(()) == {}
    assert build.calls == []
    assert layout.read_manifest(DEFAULT_SCOPE.merged_tag) is not None


@pytest.mark.parametrize(
    ("failing", "saved_stages", "warning"),
    [
        ("base", [], "the cache of base, app is not saved: 403"),
        ("app", ["base"], "the cache of app is not saved: 403"),
    ],
)
def test_save_caches_first_error_ends_with_one_warning(
    tmp_path: Path,
    failing: str,
    saved_stages: list[str],
    warning: str,
) -> None:
    layout = OciLayout(tmp_path)
    build = SavedBuild(layout, failing=frozenset({failing}))
    saved = build.save({"base"})
    assert list(saved) == ["base", "app"]
    assert list(added_bytes(saved)) == saved_stages
    assert build.warnings == [warning]


def test_save_caches_refused_merge_keeps_the_stage_caches(tmp_path: Path) -> None:
    build = SavedBuild(ReadOnlyMerge(tmp_path))
    saved = build.save({"app"})
    assert all(entry.saved for entry in saved.values())
    assert build.warnings == ["stage caches saved; merged cache not saved: 403"]


def test_save_caches_engine_without_export_is_a_warning(tmp_path: Path) -> None:
    build = SavedBuild(OciLayout(tmp_path), exports_caches=False)
    assert build.save({"app"}) == {}
    (warning,) = build.warnings
    assert "containerd image store" in warning


def test_save_caches_step_that_ran_again_is_a_warning(tmp_path: Path) -> None:
    build = SavedBuild(OciLayout(tmp_path), events=(step_line("[base 2/2] RUN one"),))
    build.save({"base"})
    assert build.warnings[0] == "saving base ran base again; the saved cache differs from the pushed image"


def test_push_merged_cache_without_records_pushes_nothing(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    assert push_merged_cache(layout, None, "cache") is None
    assert layout.read_manifest("cache") is None
