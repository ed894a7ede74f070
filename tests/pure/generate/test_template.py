"""Templates with markers in comments."""

from __future__ import annotations

import pytest
import yaml

from stagebake.generate.template import fill_template
from stagebake.generate.workflow import read_template

TEMPLATE = """\
# [note] TEMPLATE
first: 1  # [set number]
  # [if chosen]
  second: 2  # stays
  # [end]
third:
  # [each word]
  WORD: ${{ WORD }}
  # [end]
  - run: sample  # [set command]
  # [lines steps]
"""


def fill_sample(*words: str, chosen: bool = False, steps: str = "") -> str:
    return fill_template(
        TEMPLATE,
        values={"number": "17", "command": "a 'b c'"},
        conditions={"chosen": chosen},
        lists={"word": words},
        texts={"steps": steps},
    )


def test_fill_template_without_optional_lines_leaves_them_out() -> None:
    assert fill_sample() == "first: 17\nthird:\n  - run: a 'b c'\n"


def test_fill_template_with_a_condition_keeps_its_lines() -> None:
    assert "first: 17\n  second: 2  # stays\nthird:\n" in fill_sample(chosen=True)


def test_fill_template_repeats_lines_for_each_entry() -> None:
    assert "third:\n  a: ${{ a }}\n  b: ${{ b }}\n  - run" in fill_sample("a", "b")


def test_fill_template_inserts_lines_with_the_indentation_of_the_marker() -> None:
    assert fill_sample(steps="- a:\n    b\n").endswith("  - run: a 'b c'\n  - a:\n      b\n")


def test_fill_template_with_an_unknown_name_raises() -> None:
    with pytest.raises(KeyError, match="number"):
        fill_template(TEMPLATE, values={}, conditions={"chosen": True}, lists={"word": ()}, texts={})


def test_read_template_returns_a_valid_workflow_with_each_optional_step() -> None:
    jobs = yaml.safe_load(read_template())["jobs"]
    assert set(jobs) == {"build", "clean-up", "prune"}
    assert jobs["build"]["timeout-minutes"] == 60
    names = {step.get("name") for step in jobs["build"]["steps"]}
    assert {"Free disk space", "Install stagebake"} <= names
