"""Stages that run, and build times, with each caching strategy."""

from __future__ import annotations

import pytest

from stagebake.forecast.strategies import build_seconds
from tests.pure.forecast.states import SECONDS, STRATEGY_NAMES, commit_state, run_pushes
from tests.support.shapes import FIVE, STAGES


def test_replay_pushes_runs_every_needed_stage_in_the_first_push() -> None:
    (first,) = run_pushes(commit_state(FIVE))
    assert first == {key: set(STAGES) for key in STRATEGY_NAMES}


def test_replay_pushes_without_a_relevant_change_restores_everything() -> None:
    """Change only a file that no stage copies."""
    last = run_pushes(commit_state(FIVE), commit_state({**FIVE, "notes.md": "x"}))[-1]
    assert last == {"no cache": set(STAGES), **{way: set() for way in STRATEGY_NAMES[1:]}}


def test_replay_pushes_with_a_reverted_change_restores_it_only_with_stagebake() -> None:
    """Check also that a result older than the stored generations is not restored."""
    one, *others = (commit_state(FIVE, src_page_ts=str(number)) for number in range(4))
    last = run_pushes(one, others[0], one)[-1]
    assert last["one mode=max ref"] == {"builder", "runtime"}
    assert last["stagebake"] == set()
    assert run_pushes(one, *others, one)[-1]["stagebake"] == {"builder", "runtime"}


def test_replay_pushes_ignores_stages_that_are_not_needed() -> None:
    one = commit_state({**FIVE, "Dockerfile": "FROM a AS lint\nRUN x\nFROM a AS runtime\nRUN y\n"})
    assert run_pushes(one)[0] == {key: {"runtime"} for key in STRATEGY_NAMES}


@pytest.mark.parametrize(
    ("stages", "seconds"),
    [
        (set(STAGES), 100 + 600 + 50),
        ({"node-deps", "builder", "runtime"}, 200 + 150 + 50),
        ({"python-deps", "builder", "runtime"}, 600 + 50),
        (set(), 0),
    ],
)
def test_build_seconds_returns_the_longest_path_of_the_stages_that_run(stages: set[str], seconds: float) -> None:
    assert build_seconds(commit_state(FIVE), frozenset(stages), SECONDS) == seconds
