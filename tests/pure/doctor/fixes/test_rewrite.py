"""Apply the edits of findings to a file; tests/git/test_doctor.py does it in a terminal and beside git."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.propose import attach_edits, propose_edits
from stagebake.doctor.fixes.rewrite import FixChoice, apply_edits, describe_edit, fix_dockerfile
from stagebake.doctor.proof.document import Document
from stagebake.errors import InputError

TEXT = "FROM a AS b\nFROM debian\nCOPY --from=b /x /x\nRUN mkdir -p /data\n"
SAFE = "FROM a AS b\nFROM debian\nRUN mkdir -p /data\nCOPY --from=b /x /x\n"
LINKED = SAFE.replace("COPY", "COPY --link")
YES = FixChoice(agreed=True)


def examine(text: str) -> tuple[Finding, ...]:
    """Report every edit as a finding."""
    edits = propose_edits(Document(text=text, graph=parse_dockerfile(text)))
    findings = [Finding(rule=edit.rules[0], path="Dockerfile", line=edit.line, problem="x") for edit in edits]
    return attach_edits(findings, edits)


def fix(path: Path, choice: FixChoice, *, is_uncommitted: bool = False) -> str:
    """Fix the file; return what is printed."""
    printed = io.StringIO()
    text = path.read_text(encoding="utf-8")
    console = Console(file=printed, width=500)
    fix_dockerfile(path, text, examine, choice, console, is_uncommitted=is_uncommitted)
    return printed.getvalue()


@pytest.fixture
def dockerfile(tmp_path: Path) -> Path:
    path = tmp_path / "Dockerfile"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_apply_edits_one_after_the_other() -> None:
    text, edits = apply_edits(TEXT, examine, unsafe=True)
    assert text == LINKED
    assert [edit.line for edit in edits] == [4, 4]
    assert describe_edit(edits[0]).startswith("line 4: move it above line 3")
    assert "(changes the image: the folders" in describe_edit(edits[1])
    assert apply_edits(TEXT, examine, unsafe=False)[0] == SAFE


def test_fix_dockerfile_writes_and_names_what_is_not_done(dockerfile: Path) -> None:
    printed = fix(dockerfile, YES)
    assert dockerfile.read_text(encoding="utf-8") == SAFE
    assert "not done without --unsafe-fixes: line 4: add --link" in printed
    fix(dockerfile, FixChoice(agreed=True, unsafe=True))
    assert dockerfile.read_text(encoding="utf-8") == LINKED
    assert "nothing to fix" in fix(dockerfile, YES)


def test_fix_dockerfile_only_printed_is_not_written(dockerfile: Path) -> None:
    printed = fix(dockerfile, FixChoice(only_print=True), is_uncommitted=True)
    assert "+RUN mkdir -p /data\n" in printed
    assert dockerfile.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(("choice", "is_uncommitted"), [(YES, True), (FixChoice(), False), (FixChoice(), True)])
def test_fix_dockerfile_without_an_answer_is_refused(
    dockerfile: Path, choice: FixChoice, is_uncommitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InputError):
        fix(dockerfile, choice, is_uncommitted=is_uncommitted)
    assert dockerfile.read_text(encoding="utf-8") == TEXT
