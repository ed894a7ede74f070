"""A plan as people read it, and --expect."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError, Unexpected
from stagebake.explain.changes import Change
from stagebake.explain.decision import InputChanged, InputUnknown
from stagebake.explain.expectations import check_plan, parse_expectations
from stagebake.explain.plan import Plan, PlannedStage
from stagebake.fingerprint.model import Part
from stagebake.report.tables import show_plan

GRAPH = parse_dockerfile("FROM a AS base\nFROM base AS deps\nFROM deps AS image\n")
FILE = Part("file", "a[b]", "sha1:1")
CHANGED = InputChanged(Change(effect="changed", part=FILE, old=FILE, new=FILE))
PLAN = Plan(
    stages=(
        PlannedStage(name="base", verdict="restore", seconds=0.25),
        PlannedStage(name="deps", verdict="rebuild", reasons=(CHANGED,), seconds=60.0),
        PlannedStage(name="image", verdict="unknown", reasons=(InputUnknown(Part("unknown", "ADD x", "remote")),)),
    ),
    seconds=61.0,
)
BUDGETS = {"restore": 0.5, "code": 5.0, "full": 30.0}


def shown(plan: Plan) -> str:
    out = io.StringIO()
    show_plan(plan, BUDGETS, Console(file=out))
    return out.getvalue()


def test_the_table() -> None:
    """Each stage with verdict, seconds and reasons on one line, then the time against the budgets."""
    lines = shown(PLAN).splitlines()
    assert lines[1].split() == ["base", "restore", "0.2"]
    assert lines[2].split() == ["deps", "rebuild", "60.0", "`a[b]`", "changed"]
    assert "cannot be known: `ADD x`: remote" in lines[3]
    assert lines[4] == "expected 1 min 1 s, which is within the budget for: code (5 min), full (30 min)"
    assert "over every budget" in shown(Plan(stages=(), seconds=1801.0))
    assert "is not known" in shown(Plan(stages=(), seconds=None))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["restore:base"], None),
        (["restore:base,BASE", "rebuild:deps"], None),
        (["restore:deps"], "--expect restore:deps: the plan says rebuild (`a[b]` changed)"),
        (["rebuild:base"], "--expect rebuild:base: the plan says restore"),
        (["restore:image"], "--expect restore:image: the plan says unknown (cannot be known: `ADD x`: remote)"),
        (["rebuild:image"], "--expect rebuild:image: the plan says unknown (cannot be known: `ADD x`: remote)"),
    ],
)
def test_expectations_of_a_plan(words: list[str], fault: str | None) -> None:
    """What is as expected passes; what is not, or not known, is named with its reasons and exits 1."""
    expected = parse_expectations(words, GRAPH)
    if fault is None:
        check_plan(PLAN, expected)
        return
    with pytest.raises(Unexpected) as caught:
        check_plan(PLAN, expected)
    assert fault in caught.value.what
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("word", ["base", "restore:", "restored:base", "restore:bsae", "restore:base,rebuild:deps", ""])
def test_what_cannot_be_expected(word: str) -> None:
    """A slip in the words is your input's fault, before anything is built."""
    with pytest.raises(InputError):
        parse_expectations([word], GRAPH)
    with pytest.raises(InputError):
        parse_expectations(["restore:base", "rebuild:base"], GRAPH)


def test_a_restore_of_unknown_time_is_within_no_budget() -> None:
    """It does not count as nothing: the time is said to be more."""
    text = shown(Plan(stages=(PlannedStage(name="base", verdict="restore"),), seconds=0.0))
    assert "expected at least 0.0 s: it is not known how long base takes" in text
    assert "within" not in text
