"""Compute what past pushes would have cost with each caching strategy, without building. Pure.

The unit is a whole stage. For all strategies alike, this ignores what BuildKit may restore within a stage that changed,
a stage whose new result equals the old one, and the time to pull and to save. It also assumes that base images did not
change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from stagebake.cache.scopes import GENERATIONS
from stagebake.explain.stage_times import longest_path_seconds
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.inline_cache import stages_run_inline


class CachingStrategy(Protocol):
    """Caching strategy: what it stores after a push decides which stages the next push runs."""

    name: str

    def run_push(self, state: CommitState) -> frozenset[str]:
        """Return the stages that run for this commit, and remember what the strategy stores."""


class _WithoutCache:
    """No cache: every needed stage runs."""

    name = "no cache"

    def run_push(self, state: CommitState) -> frozenset[str]:
        return state.needed_names


class _InlineCache:
    """`cache-to: type=inline`, and `cache-from` the last image."""

    name = "type=inline, last image"

    def __init__(self) -> None:
        self._last: CommitState | None = None

    def run_push(self, state: CommitState) -> frozenset[str]:
        ran = stages_run_inline(self._last, state)
        self._last = state
        return ran


class _SingleMaxCache:
    """One `mode=max` ref with all stages of the last build, overwritten by each push."""

    name = "one mode=max ref"

    def __init__(self) -> None:
        self._stored: Mapping[str, str] = {}

    def run_push(self, state: CommitState) -> frozenset[str]:
        digests = state.needed_digests
        restored = {name for name, digest in digests.items() if self._stored.get(name) == digest}
        self._stored = digests
        return state.needed_names - restored


class _StageCaches:
    """One ref per stage with its last results; a stage that was restored is not saved again."""

    name = "stagebake"

    def __init__(self) -> None:
        self._stored: dict[str, list[str]] = {}

    def run_push(self, state: CommitState) -> frozenset[str]:
        ran: set[str] = set()
        for name, digest in state.needed_digests.items():
            generations = self._stored.setdefault(name, [])
            if digest not in generations:
                ran.add(name)
                generations.insert(0, digest)
                del generations[GENERATIONS:]
        return frozenset(ran)


STRATEGIES: tuple[type[CachingStrategy], ...] = (_WithoutCache, _InlineCache, _SingleMaxCache, _StageCaches)


@dataclass(frozen=True, kw_only=True)
class PushForecast:
    """Forecast of one commit: by strategy, the stages that run and their build time in seconds."""

    commit: str
    ran: Mapping[str, frozenset[str]]
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Pushes that were counted, oldest first, and the number of commits that were not, by reason.

    `seconds` has the build time of each stage. `cut` is True for a shallow clone, which lacks older commits.
    """

    pushes: tuple[PushForecast, ...]
    seconds: Mapping[str, float]
    left_out: Mapping[str, int]
    cut: bool = False


def replay_pushes(states: Iterable[CommitState], seconds: Mapping[str, float]) -> Iterator[PushForecast]:
    """Yield the forecast of each commit as a push, oldest first; the first push finds no cache.

    `seconds` has the build time of every stage that is needed.
    """
    strategies = [strategy() for strategy in STRATEGIES]
    for state in states:
        ran: dict[str, frozenset[str]] = {}
        times: dict[str, float] = {}
        for strategy in strategies:
            stages = strategy.run_push(state)
            ran[strategy.name] = stages
            times[strategy.name] = build_seconds(state, stages, seconds)
        yield PushForecast(commit=state.commit, ran=ran, seconds=times)


def build_seconds(state: CommitState, ran: frozenset[str], seconds: Mapping[str, float]) -> float:
    """Return the seconds until the last stage is built.

    A stage starts when the stages that it takes from are ready, as in BuildKit.
    """
    counted: dict[str, float] = {}
    for name in state.needed_names:
        counted[name] = seconds[name] if name in ran else 0.0
    return longest_path_seconds(state.graph, counted)
