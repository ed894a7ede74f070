"""Check a plan or a build against `--expect`."""

from __future__ import annotations

import pytest

from stagebake.build.result import BuildResult, StageResult
from stagebake.cli.expectations import check_build, check_plan, parse_expectations
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import ExpectationFailed, InputError
from stagebake.explain.changes import Change
from stagebake.explain.decision import InputChanged, InputUnknown
from stagebake.explain.plan import Plan, PlannedStage
from stagebake.fingerprint.model import Part

GRAPH = parse_dockerfile("FROM a AS base\nFROM base AS deps\nFROM deps AS image\n")
FILE = Part("file", "a[b]", "sha1:1")
CHANGED = InputChanged(Change(effect="changed", part=FILE, old=FILE, new=FILE))
REMOTE = InputUnknown(Part("unknown", "ADD x", "remote"))
PLAN = Plan(
    stages=(
        PlannedStage(name="base", verdict="restore"),
        PlannedStage(name="deps", verdict="rebuild", reasons=(CHANGED,)),
        PlannedStage(name="image", verdict="unknown", reasons=(REMOTE,)),
    ),
    seconds=None,
)
RESULT = BuildResult(
    stages=(
        StageResult(name="base", status="restored"),
        StageResult(name="deps", status="rebuilt"),
        StageResult(name="image", status="unused"),
    ),
    refs=("image",),
    pushed_image=False,
    digest=None,
    ship_seconds=1,
    save_seconds=0,
    pulled=0,
    pushed=0,
)


@pytest.mark.parametrize("words", [["restore:base"], ["restore:base,BASE", "rebuild:deps"]])
def test_check_plan_met_expectations_pass(words: list[str]) -> None:
    check_plan(PLAN, parse_expectations(words, GRAPH))


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("restore:deps", "--expect restore:deps: the plan says rebuild (`a[b]` changed)"),
        ("rebuild:base", "--expect rebuild:base: the plan says restore"),
        ("restore:image", "--expect restore:image: the plan says unknown (cannot be known: `ADD x`: remote)"),
        ("rebuild:image", "--expect rebuild:image: the plan says unknown (cannot be known: `ADD x`: remote)"),
    ],
)
def test_check_plan_other_verdict_raises_with_reasons(word: str, problem: str) -> None:
    """Name an unknown stage too, and exit with 1."""
    with pytest.raises(ExpectationFailed) as caught:
        check_plan(PLAN, parse_expectations([word], GRAPH))
    assert caught.value.problem == problem
    assert caught.value.exit_code == 1


def test_check_build_other_result_raises_with_reasons() -> None:
    check_build(RESULT, {}, parse_expectations(["restore:base", "rebuild:deps"], GRAPH))
    with pytest.raises(ExpectationFailed) as caught:
        check_build(RESULT, {"deps": (CHANGED,)}, parse_expectations(["restore:deps,image"], GRAPH))
    assert caught.value.problem == (
        "--expect restore:deps: the build reports rebuild (`a[b]` changed); "
        "--expect restore:image: the build reports unused"
    )


@pytest.mark.parametrize("word", ["base", "restore:", "restored:base", "restore:bsae", "restore:base,rebuild:deps", ""])
def test_parse_expectations_word_not_valid_raises(word: str) -> None:
    with pytest.raises(InputError):
        parse_expectations([word], GRAPH)


def test_parse_expectations_contradiction_raises() -> None:
    with pytest.raises(InputError):
        parse_expectations(["restore:base", "rebuild:base"], GRAPH)
