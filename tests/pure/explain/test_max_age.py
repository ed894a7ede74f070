"""Test which stages a push refreshes on which day, with a clock that is set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.decision import TooOld
from stagebake.explain.ledger import Ledger, LedgerEntry, merge_ledgers, parse_ledger, serialize_ledger
from stagebake.explain.max_age import choose_refresh, find_too_old
from stagebake.explain.reasons import reason_json, reason_sentence
from stagebake.fingerprint.model import Fingerprint

GRAPH = parse_dockerfile("""\
FROM debian AS base
FROM base AS python-deps
FROM base AS node-deps
FROM node-deps AS builder
FROM base AS runtime
COPY --from=python-deps /a /a
COPY --from=builder /b /b
""")
DAY = 86_400
START = 1_795_132_800  # 2026-11-20, 00:00 UTC


def make_entry(stage: str, day: int, *, ran: bool) -> LedgerEntry:
    when = START + day * DAY
    print_of_stage = Fingerprint(stage, ())
    if ran:
        return LedgerEntry(fingerprint=print_of_stage, when=when, built=when, ran=1.0)
    return LedgerEntry(fingerprint=print_of_stage, when=when, restored=0.0)


def push(ledger: Ledger, day: int, max_ages: Mapping[str, float], *, refresh: bool = False) -> tuple[list[str], Ledger]:
    """Push the default branch without a change; return the stages that are refreshed, and the ledger afterwards."""
    too_old = find_too_old(GRAPH, ledger, max_ages, START + day * DAY)
    chosen = list(choose_refresh(too_old, all_at_once=refresh))
    ran = GRAPH.force_stages(chosen).with_dependents
    entries = {name: make_entry(name, day, ran=name in ran) for name in GRAPH.names}
    return chosen, ledger.with_build(entries, None)


def first_push() -> Ledger:
    return Ledger().with_build({name: make_entry(name, 0, ran=True) for name in GRAPH.names}, None)


def list_refreshes(
    days: Iterable[int], max_ages: Mapping[str, float], *, refresh: bool = False
) -> dict[int, list[str]]:
    """Return the stages that are refreshed on each day on which some are."""
    ledger = first_push()
    refreshed: dict[int, list[str]] = {}
    for day in days:
        chosen, ledger = push(ledger, day, max_ages, refresh=refresh)
        if chosen:
            refreshed[day] = chosen
    return refreshed


@pytest.mark.parametrize(
    ("days", "max_ages", "refresh", "expected"),
    [
        # a stage is due on the first push after its age: on the eighth day
        (range(1, 61), {"base": 7 * DAY}, False, {day: ["base"] for day in (8, 16, 24, 32, 40, 48, 56)}),
        # one stage a push: python-deps first, which is more overdue by order; each keeps its own rhythm
        (
            range(1, 61),
            {"python-deps": 14 * DAY, "node-deps": 20 * DAY},
            False,
            {
                **{day: ["python-deps"] for day in (15, 30, 45, 60)},
                **{day: ["node-deps"] for day in (21, 42)},
            },
        ),
        # two are due on the same day: the second waits for the next push
        (
            range(1, 61),
            {"python-deps": 29 * DAY, "node-deps": 29 * DAY},
            False,
            {30: ["python-deps"], 31: ["node-deps"], 60: ["python-deps"]},
        ),
        # --refresh takes both at once
        (
            range(1, 61),
            {"python-deps": 29 * DAY, "node-deps": 29 * DAY},
            True,
            {30: ["python-deps", "node-deps"], 60: ["python-deps", "node-deps"]},
        ),
        # a refreshed base makes everything new, so python-deps is never due
        (
            range(1, 61),
            {"base": 10 * DAY, "python-deps": 15 * DAY},
            False,
            {day: ["base"] for day in (11, 22, 33, 44, 55)},
        ),
        # one age for all, of which base has its own
        (range(1, 61), {"": 30 * DAY, "base": 20 * DAY}, False, {21: ["base"], 42: ["base"]}),
        # few pushes: what is due waits for one, the most overdue first
        (
            (5, 40, 41, 59, 60),
            {"python-deps": 7 * DAY, "builder": 30 * DAY},
            False,
            {40: ["python-deps"], 41: ["builder"], 59: ["python-deps"]},
        ),
        (range(1, 61), {}, False, {}),
    ],
)
def test_choose_refresh_over_60_days_of_pushes(
    days: Iterable[int], max_ages: Mapping[str, float], refresh: bool, expected: Mapping[int, list[str]]
) -> None:
    assert list_refreshes(days, max_ages, refresh=refresh) == expected


def test_find_too_old_says_the_age_and_the_day() -> None:
    reason = find_too_old(GRAPH, first_push(), {"base": 7 * DAY}, START + 8 * DAY)["base"]
    assert reason == TooOld(max_age=7 * DAY, built=START)
    assert reason_sentence("base", reason) == "older than 7 days (built 2026-11-20)"
    assert reason_json(reason) == {"kind": "age", "what": "older than 7 days (built 2026-11-20)"}
    assert reason_sentence("base", TooOld(3600.0, START)) == "older than 1 hour (built 2026-11-20)"


def test_find_too_old_unknown_stage_is_not_too_old() -> None:
    assert find_too_old(GRAPH, Ledger(), {"": 1.0}, START) == {}


def test_ledger_keeps_the_time_of_the_run_through_restores() -> None:
    """Keep it in the stored form and after merging; restores do not change it."""
    ledger = first_push()
    for day in (1, 2, 3):
        _, ledger = push(ledger, day, {})
    stored = parse_ledger(serialize_ledger(ledger))
    merged = merge_ledgers((stored, Ledger(stages={"base": (make_entry("base", 4, ran=False),)})))
    for one in (ledger, stored, merged):
        assert one.find_entries("base")[0].built == START
