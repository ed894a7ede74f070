"""Apply an edit to the text of a Dockerfile."""

from __future__ import annotations

import pytest

from stagebake.doctor.fixes.edit import Edit, Replacement, apply_edit, describe_fix, edit_record

TEXT = "FROM a\n# note\nCOPY . .\nRUN x\n"


def edit(*replacements: Replacement, changes: str = "") -> Edit:
    return Edit(rules=("copy-link",), line=3, title="do it", replacements=replacements, changes=changes)


@pytest.mark.parametrize(
    ("replacement", "text"),
    [
        (Replacement(3, 3, ("COPY a b", "COPY c d")), "FROM a\n# note\nCOPY a b\nCOPY c d\nRUN x\n"),
        (Replacement(4, 4, ()), "FROM a\n# note\nCOPY . .\n"),
        (Replacement(2, 1, ("ARG A",)), "FROM a\nARG A\n# note\nCOPY . .\nRUN x\n"),
        (Replacement(5, 4, ("RUN y",)), "FROM a\n# note\nCOPY . .\nRUN x\nRUN y\n"),
    ],
    ids=["replace", "remove", "insert", "append"],
)
def test_apply_edit_changes_only_its_lines(replacement: Replacement, text: str) -> None:
    assert apply_edit(TEXT, edit(replacement)) == text


def test_apply_edit_several_replacements_keep_their_places() -> None:
    parts = (Replacement(4, 4, ()), Replacement(3, 2, ("RUN x",)), Replacement(3, 3, ("COPY --link . .",)))
    assert apply_edit(TEXT, edit(*parts)) == "FROM a\n# note\nRUN x\nCOPY --link . .\n"


def test_apply_edit_uses_the_line_end_of_the_file() -> None:
    text = TEXT.replace("\n", "\r\n")
    assert apply_edit(text, edit(Replacement(3, 3, ("COPY a b",)))) == text.replace("COPY . .", "COPY a b")


def test_apply_edit_last_line_without_an_end_stays_without() -> None:
    assert apply_edit("FROM a\nCOPY . .", edit(Replacement(2, 2, ("COPY a b",)))) == "FROM a\nCOPY a b"


def test_edit_is_for_its_rules_in_lines_that_it_touches() -> None:
    one = edit(Replacement(7, 8, ()))
    assert one.is_for("copy-link", {3})
    assert one.is_for("copy-link", {8})
    assert not one.is_for("copy-link", {5})
    assert not one.is_for("secret", {3})


def test_describe_fix_names_the_flags_and_what_changes() -> None:
    assert describe_fix(edit()) == "--fix: do it"
    assert describe_fix(edit(changes="an owner")) == "--fix --unsafe-fixes: do it (changes the image: an owner)"


def test_edit_record_has_the_lines() -> None:
    assert edit_record(edit(Replacement(2, 1, ("ARG A",)), changes="an owner")) == {
        "safe": False,
        "title": "do it",
        "changes": "an owner",
        "replacements": [{"first": 2, "last": 1, "lines": ["ARG A"]}],
    }
