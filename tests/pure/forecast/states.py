"""Provide commit states and forecasts for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stagebake.context.entries import ContextEntry
from stagebake.context.folder import git_blob_id
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.push_cost import RunnerModel
from stagebake.forecast.step_sizes import StepSizes
from stagebake.forecast.strategies import Forecast, PushForecast, replay_pushes
from stagebake.transfer.step_traffic import Traffic
from tests.support.shapes import STAGES

SECONDS = {"base": 100.0, "python-deps": 600.0, "node-deps": 200.0, "builder": 150.0, "runtime": 50.0}
IMAGE = ImageInfo(digest="sha256:0", env={}, triggers=())
STRATEGY_NAMES = ("no cache", "type=inline, last image", "one mode=max ref", "stagebake")


@dataclass(frozen=True)
class TextContext:
    """Build context with texts as files."""

    files: Mapping[str, str]
    rules: str = ""
    rules_name: str = ""
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        found = set(self.files)
        for path in self.files:
            folder = path.rpartition("/")[0]
            found.add(folder)
        return sorted(found - {""})

    def read_entries(self, paths: object) -> Mapping[str, ContextEntry]:
        found = dict.fromkeys(self.paths, ContextEntry("folder", 0o755))
        for path, text in self.files.items():
            found[path] = ContextEntry(git_blob_id(text.encode()), 0o644)
        return found


def commit_state(files: Mapping[str, str], **changes: str) -> CommitState:
    """Return the state of a commit with these files.

    `changes` are texts by the names of files, with `_` for each character that is not valid in a Python name.
    """
    changed: dict[str, str] = {}
    for path, text in files.items():
        name = path.replace(".", "_").replace("/", "_").replace("-", "_")
        changed[path] = changes.pop(name, text)
    assert not changes
    graph = parse_dockerfile(changed["Dockerfile"])
    names: set[str] = set()
    for stage in graph.stages:
        names.update(image.name for image in stage.images)
    inputs = BuildInputs(
        context=TextContext(changed),
        images=dict.fromkeys(names, IMAGE),
    )
    prints = fingerprint_stages(graph, inputs)
    return CommitState(commit="c", graph=graph, prints=prints)


def run_pushes(*states: CommitState) -> list[dict[str, set[str]]]:
    """Return for each push the stages that run, by strategy."""
    pushes: list[dict[str, set[str]]] = []
    for push in replay_pushes(states, RunnerModel(seconds=SECONDS)):
        ran = {strategy: set(stages) for strategy, stages in push.ran.items()}
        pushes.append(ran)
    return pushes


def run_change(files: Mapping[str, str], **changes: str) -> dict[str, set[str]]:
    """Return the stages that run in a push with these changes, which follows a push of the unchanged files."""
    before = commit_state(files)
    after = commit_state(files, **changes)
    return run_pushes(before, after)[-1]


def same_for_all_caches(stages: set[str]) -> dict[str, set[str]]:
    """Return these stages for every strategy, but all stages for `no cache`."""
    expected = dict.fromkeys(STRATEGY_NAMES, stages)
    expected["no cache"] = set(STAGES)
    return expected


def create_forecast(
    *seconds: float,
    left_out: Mapping[str, int] | None = None,
    sizes: StepSizes | None = None,
) -> Forecast:
    """Return a forecast of pushes that take this long with stagebake, and twice as long with other strategies."""
    pushes: list[PushForecast] = []
    for time in seconds:
        times = dict.fromkeys(STRATEGY_NAMES, 2 * time)
        times["stagebake"] = time
        ran = dict.fromkeys(STRATEGY_NAMES, frozenset({"base"}))
        traffic = dict.fromkeys(STRATEGY_NAMES, Traffic(pulled=3_000_000_000, pushed=7_000))
        push = PushForecast(commit="c", ran=ran, seconds=times, traffic=traffic)
        pushes.append(push)
    return Forecast(
        pushes=tuple(pushes),
        model=RunnerModel(seconds={"base": 100.0}, sizes=sizes or StepSizes()),
        left_out=left_out or {},
    )
