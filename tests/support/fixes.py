"""Apply the edits that `doctor` proposes for the text of a Dockerfile."""

from __future__ import annotations

from collections.abc import Iterable

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.fixes.edit import Edit, apply_edit
from stagebake.doctor.fixes.propose import propose_edits
from stagebake.doctor.proof.document import Document


def fix_text(text: str, *, files: Iterable[str] = (), unsafe: bool = False) -> tuple[str, list[Edit]]:
    """Return the text after all edits, one after the other, and these edits. All files have mode 644."""
    done: list[Edit] = []
    while True:
        document = Document(
            text=text, graph=parse_dockerfile(text), files=frozenset(files), find_mode=lambda _path: 0o644
        )
        edit = next((edit for edit in propose_edits(document) if edit.is_safe or unsafe), None)
        if edit is None:
            return text, done
        assert len(done) < 100, f"the edits do not end: {edit}"
        text = apply_edit(text, edit)
        done.append(edit)
