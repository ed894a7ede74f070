"""Test reading objects of a damaged repository."""

from __future__ import annotations

import pytest

from tests.git.conftest import TIMES, CreateRepository
from tests.support.shapes import FIVE


@pytest.mark.parametrize("arguments", [("plan", "--since=HEAD"), ("forecast", TIMES)])
def test_git_objects_with_damaged_object_shows_message_of_git(
    create_repository: CreateRepository, arguments: tuple[str, ...]
) -> None:
    repository = create_repository(FIVE)
    repository.checkout()
    name = repository.git("rev-parse", "HEAD^{tree}").strip()
    file = repository.folder / ".git/objects" / name[:2] / name[2:]
    file.chmod(0o644)
    file.write_bytes(b"spoiled")
    answer = repository.stagebake(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert f"fatal: loose object {name}" in answer.stderr
    assert len(answer.stderr.splitlines()) == 2, answer.stderr
