"""Test how git's history is listed."""

from __future__ import annotations

import pytest

from stagebake.project.git_history import files_by_commit, list_commits
from tests.git.conftest import TIMES, CreateRepository
from tests.support.shapes import FIVE


def test_list_commits_of_merge_counts_it_once(create_repository: CreateRepository) -> None:
    """Follow first parents: a merge brings all changes of its branch at once."""
    repository = create_repository(FIVE, {"src/a.ts": "1"})
    repository.checkout()
    repository.git("checkout", "--quiet", "-b", "feature", "HEAD~1")
    for name in ("one", "two"):
        (repository.folder / "src" / f"{name}.ts").write_text(name)
        repository.git("add", ".")
        repository.git("commit", "--quiet", "--message=work")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-edit", "feature")
    assert len(list_commits(repository.folder, 10)) == 3
    assert files_by_commit(repository.folder, 10)[0] == {"src/one.ts", "src/two.ts"}
    assert files_by_commit(repository.folder / "src", 10)[:2] == (
        frozenset({"one.ts", "two.ts"}),
        frozenset({"a.ts"}),
    )


@pytest.mark.parametrize("arguments", [("plan", "--since=HEAD"), ("forecast", TIMES)])
def test_path_in_repository_of_outer_context_is_refused(
    create_repository: CreateRepository, arguments: tuple[str, ...]
) -> None:
    repository = create_repository({**FIVE, "stagebake.toml": 'context = ".."\n'})
    repository.checkout()
    answer = repository.stagebake(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert ".. is outside of the repository" in answer.stderr
