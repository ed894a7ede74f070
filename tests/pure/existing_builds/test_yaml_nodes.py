"""Nodes of YAML with their lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebake.existing_builds.yaml_nodes import InvalidYaml, parse_yaml

TEXT = """\
on: [push]
jobs:
  build:
    steps:
      - run: |
          one
          two

      # about the next
      - uses: x
"""


def test_parse_yaml_reads_the_key_on_as_text() -> None:
    assert parse_yaml(TEXT).find_field("on").list_words() == ("push",)


def test_parse_yaml_gives_each_node_its_first_and_last_line() -> None:
    steps = parse_yaml(TEXT).find_field("jobs", "build", "steps")
    assert [(entry.line, entry.entries) for entry in steps.entries] == [(5, ()), (10, ())]
    assert steps.entries[1].end == 10
    assert steps.entries[0].find_field("run").text == "one\ntwo\n"


def test_find_field_of_a_missing_path_is_empty() -> None:
    missing = parse_yaml(TEXT).find_field("jobs", "other", "steps")
    assert (missing.text, missing.entries, missing.line) == ("", (), 0)


def test_parse_yaml_resolves_aliases() -> None:
    root = parse_yaml("a: &same [x, y]\nb: *same\n")
    assert root.find_field("b").list_words() == ("x", "y")


def test_parse_yaml_of_many_nested_aliases_stays_small() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert parse_yaml("\n".join(lines)).find_field("a29").entries


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: b\nc: [\n", 3), ("a: b\n\tc: d\n", 2), ("a: &a [*a]\n", 1), ("a: *b\n", 1), ("\x00", 1)],
)
def test_parse_yaml_of_text_that_is_not_valid_names_the_line(text: str, line: int) -> None:
    with pytest.raises(InvalidYaml) as raised:
        parse_yaml(text)
    assert raised.value.line == line


@given(st.text(alphabet="ab:-[]{}&*#|>'\"\n \t", max_size=60))
def test_parse_yaml_of_any_text_returns_or_names_a_line(text: str) -> None:
    line = 1
    try:
        parse_yaml(text)
    except InvalidYaml as error:
        line = error.line
    assert line >= 1
