"""Find how long stages and builds take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.stage_times import (
    given_stage_times,
    ledger_stage_times,
    longest_path_seconds,
    require_stage_times,
    total_build_seconds,
)
from stagebake.fingerprint.model import Fingerprint

GRAPH = parse_dockerfile("FROM a AS left\nFROM a AS right\nFROM left AS image\nCOPY --from=right / /\n")


def make_report(path: Path, **seconds: object) -> Path:
    """Write the report of a build that ran these stages and restored `image`."""
    stages = [{"name": name, "status": "rebuilt", "seconds": time} for name, time in seconds.items()]
    restored = {"name": "image", "status": "restored", "seconds": 1.0}
    path.write_text(json.dumps({"stages": [*stages, restored]}))
    return path


def make_ledger(**seconds: float | None) -> Ledger:
    stages = {}
    for name, time in seconds.items():
        stages[name] = (LedgerEntry(fingerprint=Fingerprint(name, ()), ran=time),)
    return Ledger(stages=stages)


def test_given_stage_times_words_override_the_report(tmp_path: Path) -> None:
    report = make_report(tmp_path / "report.json", left=10.0, right=20.0)
    assert given_stage_times([], report, GRAPH) == {"left": 10.0, "right": 20.0}
    times = given_stage_times(["left=1,IMAGE=2", "right=3.5"], report, GRAPH)
    assert times == {"left": 1.0, "right": 3.5, "image": 2.0}


@pytest.mark.parametrize("word", ["left", "left=", "left=soon", "left=-1", "left=inf", "lfet=1"])
def test_given_stage_times_word_not_valid_raises(word: str) -> None:
    with pytest.raises(InputError):
        given_stage_times([word], None, GRAPH)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": [{}]}', '{"stages": 3}'])
def test_given_stage_times_report_not_valid_raises(tmp_path: Path, text: str) -> None:
    report = tmp_path / "report.json"
    report.write_text(text)
    with pytest.raises(InputError, match="not the report of a build"):
        given_stage_times([], report, GRAPH)


def test_given_stage_times_negative_time_raises(tmp_path: Path) -> None:
    report = make_report(tmp_path / "report.json", left=-1)
    with pytest.raises(InputError, match="not the report of a build"):
        given_stage_times([], report, GRAPH)


def test_given_stage_times_missing_report_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the report of a build"):
        given_stage_times([], tmp_path / "missing.json", GRAPH)


def test_ledger_stage_times_take_the_nearest_ledger_that_knows() -> None:
    nearest = make_ledger(left=1.0, right=None)
    farther = make_ledger(left=9.0, right=2.0, image=None)
    assert ledger_stage_times([nearest, farther]) == {"left": 1.0, "right": 2.0}


def test_require_stage_times_names_stages_without_a_time() -> None:
    with pytest.raises(InputError) as caught:
        require_stage_times(GRAPH, {"left": 1.0})
    assert caught.value.problem == "unknown build time of right, image"
    assert "--seconds right=SECONDS,image=SECONDS" in caught.value.hint


def test_require_stage_times_returns_the_stages_of_the_image_first() -> None:
    times = {"test": 4.0, "image": 3.0, "right": 2.0, "left": 1.0}
    ordered = require_stage_times(GRAPH, times)
    assert ordered == times
    assert list(ordered) == ["left", "right", "image", "test"]


def test_longest_path_seconds_counts_parallel_stages_once() -> None:
    assert longest_path_seconds(GRAPH, {"left": 10.0, "right": 30.0, "image": 5.0}) == 35.0


def test_total_build_seconds_adds_the_overhead() -> None:
    assert total_build_seconds(GRAPH, {"left": 10.0, "right": 30.0, "image": 5.0}, 2.0) == 37.0
