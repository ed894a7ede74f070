"""Choose the stages to refresh because their results are older than the setting `max-age`. Pure.

Only a push of the default branch refreshes: other branches and pull requests never pay for it. One push refreshes one
stage with what depends on it, so that no push pays for everything at once; `build --refresh` refreshes all.
"""

from __future__ import annotations

from collections.abc import Mapping

from stagebake.dockerfile.stages import StageGraph
from stagebake.explain.decision import TooOld
from stagebake.explain.ledger import Ledger

# Name in `max-age` that stands for all stages
ALL_STAGES = ""


def find_too_old(graph: StageGraph, ledger: Ledger, max_ages: Mapping[str, float], now: float) -> dict[str, TooOld]:
    """Return the stages whose current result is older than its limit (seconds), the most overdue first.

    `now` is in seconds since 1970, `ledger` that of the default branch. A stage that it does not know is not too old.
    """
    overdue: dict[str, float] = {}
    reasons: dict[str, TooOld] = {}
    for stage in graph.needed_stages():
        limit = max_ages.get(stage.name, max_ages.get(ALL_STAGES))
        entries = ledger.find_entries(stage.name)
        built = entries[0].built if entries else 0
        if limit is not None and built and now - built > limit:
            overdue[stage.name] = now - built - limit
            reasons[stage.name] = TooOld(max_age=limit, built=built)
    return {name: reasons[name] for name in sorted(overdue, key=lambda name: -overdue[name])}


def choose_refresh(too_old: Mapping[str, TooOld], *, all_at_once: bool) -> dict[str, TooOld]:
    """Return the stages that one push refreshes: the most overdue one, or all of them."""
    names = list(too_old) if all_at_once else list(too_old)[:1]
    return {name: too_old[name] for name in names}
