"""Write lines into a Dockerfile: above comments, with flags, and without what a removed instruction leaves."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.fixes.edit import Edit, Replacement, apply_edit
from stagebake.doctor.proof.document import Document

TEXT = """\
# syntax=docker/dockerfile:1
# About the base
FROM a AS base
WORKDIR /work

# Two lines
# of comment
COPY --chown=1:2 \\
  --chmod=755 x \\
  y

RUN ls /work/bin/tool
"""


def document(text: str = TEXT) -> Document:
    return Document(text=text, graph=parse_dockerfile(text))


def instruction(keyword: str, source: Document) -> Instruction:
    (found,) = (each for each in source.graph.final.instructions if each.keyword == keyword)
    return found


def apply(replacement: Replacement) -> str:
    return apply_edit(TEXT, Edit(rules=(), line=1, title="", replacements=(replacement,)))


def test_insert_above_goes_above_the_comment_and_below_directives() -> None:
    source = document()
    assert source.insert_above(instruction("COPY", source), ("RUN x",)) == Replacement(6, 5, ("RUN x",))
    assert source.insert_above(instruction("FROM", source), ("ARG X",)) == Replacement(2, 1, ("ARG X",))


def test_insert_below_goes_below_the_last_line() -> None:
    source = document()
    assert source.insert_below(instruction("COPY", source), ("RUN x",)) == Replacement(11, 10, ("RUN x",))


def test_remove_takes_the_comment_and_one_of_two_blank_lines() -> None:
    source = document()
    left = apply(source.remove(instruction("COPY", source)))
    assert left == TEXT[: TEXT.index("# Two")] + TEXT[TEXT.index("RUN ls") :]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [("chown", "3:4", "COPY --chown=3:4 \\"), ("link", None, "COPY --link --chown=1:2 \\")],
)
def test_set_flag_replaces_or_adds_it(name: str, value: str | None, line: str) -> None:
    source = document()
    copy = instruction("COPY", source)
    lines = source.set_flag(source.find_lines(copy), copy, name, value)
    assert lines == (line, "  --chmod=755 x \\", "  y")


def test_mentions_below_finds_paths_and_working_folders() -> None:
    source = document()
    stage = source.graph.final
    assert source.mentions_below(stage, "/work/bin")
    assert source.mentions_below(stage, "/work")
    assert not source.mentions_below(stage, "/work/bin/tool")
