"""Decisions about the lines of an existing build."""

from __future__ import annotations

from stagebake.migration.decisions import TakeoverDraft


def test_add_setting_joins_tables_and_lists_and_keeps_the_last_text() -> None:
    draft = TakeoverDraft()
    for value in ({"A": "1"}, {"B": "2"}):
        draft.add_setting("w:1", "build-args", "args", value)
    for word in ("a", "b"):
        draft.add_setting("w:2", "ssh", "ssh", (word,))
        draft.add_setting("w:3", "target", "target", word)
    assert draft.settings == {"args": {"A": "1", "B": "2"}, "ssh": ("a", "b"), "target": "b"}


def test_format_line_has_place_subject_outcome_and_explanation() -> None:
    draft = TakeoverDraft()
    draft.leave("w:1", "load:\n  true", "why")
    assert draft.decisions[0].format_line() == "w:1: load: true: left out: why"
