"""What past pushes would have cost under each way of caching: a fold over commits, without building. Pure.

It counts whole stages. What BuildKit may still save within one (steps before the first that changed, and a stage that
came out the same although it ran) is left out for all alike, and so is the time to pull and to save. Images are taken
as unmoved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from stagebake.cache.scopes import GENERATIONS
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.explain.stage_times import longest_path_seconds
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.formatting import format_seconds, json_document

StagePrints = Mapping[str, Fingerprint]

_LEADS = ("arg", "env", "platform", "setting")
_PAST_ALL = 1 << 30


@dataclass(frozen=True, kw_only=True)
class CommitState:
    """A commit with its stages and what each is made of."""

    commit: str
    graph: StageGraph
    prints: StagePrints


class _Nothing:
    """No cache at all."""

    name = "no cache"

    def push(self, state: CommitState) -> frozenset[str]:
        return _needed(state.graph)


class _Inline:
    """`cache-to: type=inline` and `cache-from` the last image."""

    name = "type=inline, last image"

    def __init__(self) -> None:
        self._last: CommitState | None = None

    def push(self, state: CommitState) -> frozenset[str]:
        ran = stages_run_inline(self._last, state)
        self._last = state
        return ran


class _Max:
    """One `mode=max` ref that each push writes anew: it holds every stage of the last build."""

    name = "one mode=max ref"

    def __init__(self) -> None:
        self._last: Mapping[str, str] = {}

    def push(self, state: CommitState) -> frozenset[str]:
        now = {name: state.prints[name].digest for name in _needed(state.graph)}
        ran = frozenset(name for name, digest in now.items() if self._last.get(name) != digest)
        self._last = now
        return ran


class _Stagebake:
    """A ref for each stage, which keeps its last results; what was restored is not saved again."""

    name = "stagebake"

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = {}

    def push(self, state: CommitState) -> frozenset[str]:
        now = {name: state.prints[name].digest for name in _needed(state.graph)}
        ran = frozenset(name for name, digest in now.items() if digest not in self._kept.get(name, ()))
        for name in ran:
            self._kept[name] = [now[name], *self._kept.get(name, ())][:GENERATIONS]
        return ran


class _Way(Protocol):
    """A way of caching: what is stored after a push decides what the next one runs."""

    name: str

    def push(self, state: CommitState) -> frozenset[str]:
        """The stages that run."""


STRATEGIES: tuple[type[_Way], ...] = (_Nothing, _Inline, _Max, _Stagebake)


@dataclass(frozen=True, kw_only=True)
class PushForecast:
    """One commit: by way of caching the stages that run, and the seconds that they take."""

    commit: str
    ran: Mapping[str, frozenset[str]]
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The pushes that were counted, oldest first, and why how many others were not.

    `cut` says that the clone is shallow: there are older pushes that git does not have here.
    """

    pushes: tuple[PushForecast, ...]
    seconds: Mapping[str, float]
    left_out: Mapping[str, int]
    cut: bool = False


def replay_pushes(states: Iterable[CommitState], seconds: Mapping[str, float]) -> Iterator[PushForecast]:
    """Each commit as a push, oldest first; the first finds no cache. `seconds` has every stage that is needed."""
    ways = [way() for way in STRATEGIES]
    for state in states:
        ran = {way.name: way.push(state) for way in ways}
        times = {name: build_seconds(state.graph, stages, seconds) for name, stages in ran.items()}
        yield PushForecast(commit=state.commit, ran=ran, seconds=times)


def build_seconds(graph: StageGraph, ran: frozenset[str], seconds: Mapping[str, float]) -> float:
    """The time until the last stage is done: each starts when those that it takes from are there, as in BuildKit."""
    counted = {name: seconds[name] if name in ran else 0.0 for name in _needed(graph)}
    return longest_path_seconds(graph, counted)


def stages_run_inline(last: CommitState | None, state: CommitState) -> frozenset[str]:
    """What runs when only the layers of the last image are cached: those of the final stage and what is below its FROM.

    All of them are restored up to the first step that changed. Each step after it that takes from another stage makes
    that stage run whole, with all that it takes from in turn; but a COPY --link, which stands on nothing, only where
    it changed itself. `tests/engine/test_forecast.py` holds BuildKit to it.
    """
    if last is None:
        return _needed(state.graph)
    spine = _spine(state.graph)
    for position, stage in enumerate(spine):
        line = _first_change(last.prints.get(stage.name), state.prints[stage.name])
        if line is not None:
            whole = {below.name for below in spine[:position]}
            return _with_sources(state, spine[position:], line, whole, _identities(last.prints))
    return frozenset()


def _spine(graph: StageGraph) -> tuple[Stage, ...]:
    """The final stage and those that it stands on by FROM, lowest first."""
    spine = [graph.final]
    while below := next((source for source in spine[0].steps[0].sources if isinstance(source, str)), None):
        spine.insert(0, graph[below])
    return tuple(spine)


def _first_change(old: Fingerprint | None, new: Fingerprint) -> int | None:
    """The line of the first step of which a part differs; None where the two are the same."""
    if old is not None and old.digest == new.digest:
        return None
    known, parts = _listed(old), _listed(new)
    first = next((at for at, part in enumerate(parts) if _identity(known, at) != part.identity), len(parts))
    # What is no step's own (an ARG, the platform) counts from the step that follows it
    return next((part.line for part in parts[first:] if part.kind not in _LEADS), _PAST_ALL)


def _listed(fingerprint: Fingerprint | None) -> list[Part]:
    return [part for part in fingerprint.parts if part.kind != "ignore"] if fingerprint else []


def _identity(parts: list[Part], at: int) -> object:
    return parts[at].identity if at < len(parts) else None


def _identities(prints: StagePrints) -> frozenset[object]:
    return frozenset(part.identity for found in prints.values() for part in found.parts if part.kind != "file")


def _with_sources(
    state: CommitState, running: tuple[Stage, ...], line: int, whole: set[str], known: frozenset[object]
) -> frozenset[str]:
    """These stages from that line on, and every stage that they need to run for it."""
    ran = {stage.name for stage in running}
    for stage in running:
        own = [part for part in state.prints[stage.name].parts if part.kind in ("instruction", "stage", "unknown")]
        for step in stage.steps:
            here = step.instruction.line
            linked = step.instruction.has_switch("link")
            same = all(part.identity in known for part in own if part.line == here)
            if here >= line and not (linked and same):
                _run(state.graph, (source for source in step.sources if isinstance(source, str)), ran, whole)
    return frozenset(ran)


def _run(graph: StageGraph, sources: Iterable[str], ran: set[str], whole: set[str]) -> None:
    for name in sources:
        if name not in ran and name not in whole:
            ran.add(name)
            _run(graph, graph[name].parents, ran, whole)


def _needed(graph: StageGraph) -> frozenset[str]:
    return frozenset(stage.name for stage in graph.needed_stages())


@dataclass(frozen=True, kw_only=True)
class ForecastRow:
    """One way of caching over all pushes; times in seconds, `kept` the share of pushes within each budget."""

    way: str
    total: float
    median: float
    p90: float
    most: float
    kept: Mapping[str, float]


def forecast_rows(forecast: Forecast, budgets: Mapping[str, float]) -> tuple[ForecastRow, ...]:
    """A row for each way; `budgets` in minutes."""
    return tuple(_row(way.name, [push.seconds[way.name] for push in forecast.pushes], budgets) for way in STRATEGIES)


def _row(name: str, times: list[float], budgets: Mapping[str, float]) -> ForecastRow:
    ordered = sorted(times)
    kept = {
        budget: sum(seconds <= minutes * 60 for seconds in ordered) / len(ordered)
        for budget, minutes in budgets.items()
    }
    return ForecastRow(
        way=name,
        total=sum(ordered),
        median=_rank(ordered, 0.5),
        p90=_rank(ordered, 0.9),
        most=ordered[-1],
        kept=kept,
    )


def _rank(ordered: list[float], share: float) -> float:
    """The smallest time that this share of the pushes does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def forecast_table(forecast: Forecast, budgets: Mapping[str, float]) -> str:
    """The table, as Markdown that reads well as text, and what it rests on."""
    names = "".join(f" {name} ≤ {minutes:g} min |" for name, minutes in budgets.items())
    count = len(forecast.pushes)
    lines = [
        f"| {count} push{'es' * (count != 1)} | minutes in all | median | p90 | longest |{names}",
        f"|---|---:|---:|---:|---:|{'---:|' * len(budgets)}",
    ]
    for row in forecast_rows(forecast, budgets):
        shares = "".join(f" {row.kept[name]:.0%} |" for name in budgets)
        times = " | ".join((f"{row.total / 60:.1f}", *map(format_seconds, (row.median, row.p90, row.most))))
        lines.append(f"| {row.way} | {times} |{shares}")
    stages = ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in forecast.seconds.items())
    lines += ["", f"Computed, not measured, with these times of the stages: {stages}."]
    lines += [f"Left out: {count} commit{'s' * (count != 1)}, {why}." for why, count in forecast.left_out.items()]
    lines += ["This clone is shallow: `git fetch --unshallow` brings the older commits."] if forecast.cut else []
    return "\n".join(lines) + "\n"


def forecast_json(forecast: Forecast, budgets: Mapping[str, float]) -> str:
    """The forecast for machines: the rows, and of each push what runs. Times in seconds, budgets in minutes."""
    document = {
        "budgets": dict(budgets),
        "stages": dict(forecast.seconds),
        "left_out": dict(forecast.left_out),
        "ways": [asdict(row) for row in forecast_rows(forecast, budgets)],
        "pushes": [
            {
                "commit": push.commit,
                "ran": {way: sorted(stages) for way, stages in push.ran.items()},
                "seconds": dict(push.seconds),
            }
            for push in forecast.pushes
        ],
    }
    return json_document(document)
