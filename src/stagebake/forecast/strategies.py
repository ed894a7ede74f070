"""Compute what past pushes would have cost with each caching strategy, without building. Pure.

The time of a stage counts as a whole; its bytes count by the steps that run. For all strategies alike, this ignores a
stage whose new result equals the old one, and assumes that base images did not change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stagebake.cache.scopes import GENERATIONS
from stagebake.fingerprint.model import Fingerprint
from stagebake.forecast.changed_steps import changed_since
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.inline_cache import final_chain, stages_run_inline
from stagebake.forecast.push_cost import CachePolicy, PushCost, RunnerModel, cost_push
from stagebake.transfer.running_steps import ChangedLines
from stagebake.transfer.step_traffic import Traffic


class CachingStrategy(Protocol):
    """Caching strategy: what it stores after a push decides which steps the next push runs."""

    name: str
    policy: CachePolicy

    def run_push(self, state: CommitState) -> ChangedLines:
        """Return the stages that run for this commit with their changed lines, and remember what is stored."""


class _WithoutCache:
    """No cache: every needed stage runs."""

    name = "no cache"
    policy = CachePolicy(saves_stages=False)

    def run_push(self, state: CommitState) -> ChangedLines:
        return dict.fromkeys(state.needed_names)


class _InlineCache:
    """`cache-to: type=inline`, and `cache-from` the last image."""

    name = "type=inline, last image"
    policy = CachePolicy(saves_stages=False)

    def __init__(self) -> None:
        self._last: CommitState | None = None

    def run_push(self, state: CommitState) -> ChangedLines:
        changed: dict[str, Collection[int] | None] = dict.fromkeys(stages_run_inline(self._last, state))
        if self._last is not None:
            for stage in final_chain(state.graph):
                old = self._last.prints.get(stage.name)
                if stage.name in changed and old is not None:
                    changed[stage.name] = changed_since([old], state.prints[stage.name])
        self._last = state
        return changed


class _SingleMaxCache:
    """One `mode=max` ref with all stages of the last build, overwritten by each push."""

    name = "one mode=max ref"
    policy = CachePolicy()

    def __init__(self) -> None:
        self._stored: Mapping[str, Fingerprint] = {}

    def run_push(self, state: CommitState) -> ChangedLines:
        changed: dict[str, Collection[int] | None] = {}
        for name, digest in state.needed_digests.items():
            old = self._stored.get(name)
            if old is None or old.digest != digest:
                changed[name] = changed_since([old] if old else [], state.prints[name])
        self._stored = {name: state.prints[name] for name in state.needed_names}
        return changed


class _StageCaches:
    """One ref per stage with its last results; a stage that was restored is not saved again."""

    name = "stagebake"
    policy = CachePolicy(saves_after=True)

    def __init__(self) -> None:
        self._stored: dict[str, list[Fingerprint]] = {}

    def run_push(self, state: CommitState) -> ChangedLines:
        changed: dict[str, Collection[int] | None] = {}
        for name, digest in state.needed_digests.items():
            generations = self._stored.setdefault(name, [])
            if all(digest != stored.digest for stored in generations):
                changed[name] = changed_since(generations, state.prints[name])
                generations.insert(0, state.prints[name])
                del generations[GENERATIONS:]
        return changed


STRATEGIES: tuple[type[CachingStrategy], ...] = (_WithoutCache, _InlineCache, _SingleMaxCache, _StageCaches)


@dataclass(frozen=True, kw_only=True)
class PushForecast:
    """Forecast of one commit: by strategy, the stages that run, the seconds until the push, the bytes that it moves."""

    commit: str
    ran: Mapping[str, frozenset[str]]
    seconds: Mapping[str, float]
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Pushes that were counted, oldest first, and the number of commits that were not, by reason.

    `model` is what the forecast assumes. `cut` is True for a shallow clone, which lacks older commits.
    """

    pushes: tuple[PushForecast, ...]
    model: RunnerModel
    left_out: Mapping[str, int]
    cut: bool = False


def replay_pushes(states: Iterable[CommitState], model: RunnerModel) -> Iterator[PushForecast]:
    """Yield the forecast of each commit as a push, oldest first; the first push finds no cache.

    `model` has the build time of every stage that is needed.
    """
    strategies = [strategy() for strategy in STRATEGIES]
    for state in states:
        ran: dict[str, frozenset[str]] = {}
        costs: dict[str, PushCost] = {}
        for strategy in strategies:
            changed = strategy.run_push(state)
            ran[strategy.name] = frozenset(changed)
            costs[strategy.name] = cost_push(state.graph, changed, model, strategy.policy)
        yield PushForecast(
            commit=state.commit,
            ran=ran,
            seconds={name: cost.seconds for name, cost in costs.items()},
            traffic={name: cost.traffic for name, cost in costs.items()},
        )
