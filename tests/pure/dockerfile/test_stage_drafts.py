"""Split instructions into stages, and name each stage."""

from __future__ import annotations

from stagebake.dockerfile.parser import parse_instructions
from stagebake.dockerfile.stage_drafts import split_stages


def test_split_stages_gives_each_stage_its_instructions() -> None:
    text = "ARG V=1\nFROM a AS Base\nRUN x\nFROM b\n"
    drafts = split_stages(parse_instructions(text, "Dockerfile"), "Dockerfile")
    assert [(draft.name, draft.target, draft.index, draft.line) for draft in drafts] == [
        ("base", "Base", 0, 2),
        ("stage-1", None, 1, 4),
    ]
    assert [instruction.keyword for instruction in drafts[0].instructions] == ["FROM", "RUN"]


def test_split_stages_taken_number_name_gets_a_suffix() -> None:
    text = "FROM a\nFROM b AS stage-0\n"
    drafts = split_stages(parse_instructions(text, "Dockerfile"), "Dockerfile")
    assert [draft.name for draft in drafts] == ["stage-0-unnamed", "stage-0"]


def test_split_stages_equal_names_belong_to_the_last_stage() -> None:
    text = "FROM a AS x\nFROM b AS X\nFROM c AS x\nFROM d AS stage-0\n"
    drafts = split_stages(parse_instructions(text, "Dockerfile"), "Dockerfile")
    assert [(draft.name, draft.target, draft.written_name) for draft in drafts] == [
        ("stage-0-unnamed", None, "x"),
        ("stage-1", None, "X"),
        ("x", "x", "x"),
        ("stage-0", "stage-0", "stage-0"),
    ]
