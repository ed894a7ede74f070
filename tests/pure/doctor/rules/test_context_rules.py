"""Check the rules `dockerignore`, `idle-files` and `secret-file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.context.folder import ContextFolder
from tests.support.findings import examine_text, only_finding, rule_names


def test_copied_junk_submodule_git_file_is_ignored_by_the_fix(tmp_path: Path) -> None:
    found = only_finding("dockerignore", examine_text("FROM a\nCOPY . .\n", files="vendor/part/.git vendor/part/x"))
    (tmp_path / "vendor/part").mkdir(parents=True)
    (tmp_path / "vendor/part/.git").touch()
    (tmp_path / ".dockerignore").write_text("\n".join(found.fix))
    assert "vendor/part/.git" not in ContextFolder(tmp_path).paths


def test_copied_junk_generated_files_are_counted_and_ignored() -> None:
    files = ".git/HEAD .git/config node_modules/a/b.js app/__pycache__/x.pyc app/x.py"
    found = only_finding("dockerignore", examine_text("FROM a\nCOPY . .\n", files=files))
    assert found.line == 2
    assert ".git (2 files), __pycache__ (1 file), node_modules (1 file)" in found.problem
    assert found.fix == ("# .dockerignore", "**/.git", "**/__pycache__", "**/node_modules")


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("FROM a\nCOPY app app\n", ".git/HEAD app/x.py node_modules/a.js"),
        ("FROM a\nCOPY . .\nRUN git describe\n", ".git/HEAD app/x.py"),
        ("FROM a\nCOPY . .\n", "app/x.py"),
    ],
    ids=["not-copied", "used", "not-there"],
)
def test_copied_junk_harmless_files_are_not_reported(text: str, files: str) -> None:
    """Leave out files that no COPY takes, that the build uses, or that do not exist."""
    assert "dockerignore" not in rule_names(examine_text(text, files=files))


def test_unused_files_rebuilds_for_nothing_else_are_counted() -> None:
    """Count rebuilds for the README and the workflows alone; leave the README out where a package may read it."""
    commits = ("README.md",) * 3 + (".github/workflows/x.yml", "src/a", "src/a README.md")
    found = only_finding("idle-files", examine_text("FROM a\nCOPY . .\n", files="src/a README.md", commits=commits))
    assert "4 of the last 6 rebuilds" in found.problem
    assert found.fix == ("# .dockerignore", "*.md", ".github")
    python = examine_text("FROM a\nCOPY . .\n", files="pyproject.toml README.md", commits=commits)
    assert "idle-files" not in rule_names(python)
    pages = examine_text("FROM a\nCOPY . .\n", files="posts/one.md", commits=("posts/one.md",) * 9)
    assert "idle-files" not in rule_names(pages)


def test_copied_secrets_env_file_is_ignored_by_the_fix() -> None:
    found = only_finding("secret-file", examine_text("FROM a\nCOPY . .\n", files="app/.env app/x.py"))
    assert found.fix == ("# .dockerignore", "app/.env")
    assert found.problem == (
        "this COPY includes app/.env; the content stays in the layers of the image and in its caches"
    )


def test_copied_junk_tracked_files_are_the_same_everywhere() -> None:
    files = frozenset({".vscode/x", "a.js"})
    assert "dockerignore" not in rule_names(examine_text("FROM a\nCOPY . .\n", files=" ".join(files), tracked=files))


def test_copied_junk_git_folder_stays_where_a_compiler_may_read_it() -> None:
    text = "FROM rust\nCOPY . .\nRUN cargo build\n"
    found = only_finding("dockerignore", examine_text(text, files=".git/HEAD x .venv/a"))
    assert found.fix == ("# .dockerignore", "**/.venv")


def test_copied_junk_git_folder_has_a_word_of_doubt_unless_it_is_let_in() -> None:
    found = only_finding("dockerignore", examine_text("FROM a\nCOPY . .\n", files=".git/HEAD x"))
    assert "keep .git only if the build reads the version from it" in found.problem
    let_in = examine_text("FROM a\nCOPY . .\n", files=".git/HEAD x", ignore_rules=("*", "!.git"))
    assert "dockerignore" not in rule_names(let_in)


def test_copied_secrets_tracked_file_is_not_reported() -> None:
    tracked = frozenset({"web/.env"})
    assert "secret-file" not in rule_names(examine_text("FROM a\nCOPY . .\n", files="web/.env", tracked=tracked))
