"""Read the end of the final stage."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.reading.final_tail import FinalTail, covers, is_setup, touched_copies
from stagebake.doctor.reading.subject import Subject


def tail_of(text: str) -> FinalTail:
    return Subject(parse_dockerfile(text), RepositoryFacts()).tail


def test_read_tail_begins_with_the_first_copy_that_code_changes() -> None:
    tail = tail_of("FROM a\nRUN x\nCOPY package.json .\nWORKDIR /app\nCOPY src ./src\nRUN y\nCOPY bin /b\n")
    assert [place.step.instruction.line for place in tail.steps] == [5, 6, 7]
    assert [copy.path for copy in tail.copies] == ["/app/src", "/b"]
    assert [run.folder for run in tail.runs] == ["/app"]


def test_read_tail_without_code_is_empty() -> None:
    assert tail_of("FROM a\nCOPY package.json .\nRUN x\n") == FinalTail()


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [("/app", "/app/x", True), ("/app", "/apple", False), ("/app/*", "/app/x", True), ("/", "/x", True)],
)
def test_covers_compares_whole_names(above: str, below: str, expected: bool) -> None:
    assert covers(above, below) == expected


@pytest.mark.parametrize(
    ("command", "setup", "touched"),
    [
        ("mkdir /data", True, 0),
        ("chown web /data", True, 0),
        ("chown -R web /app", False, 1),
        ("cd /app && rm src", False, 1),
        ("make", False, 0),
    ],
)
def test_is_setup_and_touched_copies_judge_a_command(command: str, setup: bool, touched: int) -> None:
    (run,) = tail_of(f"FROM a\nCOPY . /app\nRUN {command}\n").runs
    last = run.commands[-1]
    assert is_setup(run, last) == setup
    assert len(touched_copies(run, last)) == touched
