"""Stages that run, and build times, with each caching strategy."""

from __future__ import annotations

from tests.pure.forecast.states import STRATEGY_NAMES, commit_state, run_pushes, same_for_all_caches
from tests.support.shapes import FIVE, STAGES


def test_replay_pushes_runs_every_needed_stage_in_the_first_push() -> None:
    (first,) = run_pushes(commit_state(FIVE))
    assert first == same_for_all_caches(set(STAGES))


def test_replay_pushes_without_a_relevant_change_restores_everything() -> None:
    """Change only a file that no stage copies."""
    before = commit_state(FIVE)
    after = commit_state({**FIVE, "notes.md": "x"})
    last = run_pushes(before, after)[-1]
    assert last == same_for_all_caches(set())


def test_replay_pushes_with_a_reverted_change_restores_it_only_with_stagebake() -> None:
    """Check also that a result older than the stored generations is not restored."""
    states = [commit_state(FIVE, src_page_ts=text) for text in "0123"]
    reverted = run_pushes(states[0], states[1], states[0])[-1]
    assert reverted["one mode=max ref"] == {"builder", "runtime"}
    assert reverted["stagebake"] == set()
    too_old = run_pushes(*states, states[0])[-1]
    assert too_old["stagebake"] == {"builder", "runtime"}


def test_replay_pushes_ignores_stages_that_are_not_needed() -> None:
    dockerfile = "FROM a AS lint\nRUN x\nFROM a AS runtime\nRUN y\n"
    state = commit_state({**FIVE, "Dockerfile": dockerfile})
    (first,) = run_pushes(state)
    assert first == {name: {"runtime"} for name in STRATEGY_NAMES}
