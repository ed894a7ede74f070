"""Test that a build context in a git tree equals a checkout of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stagebake.context.folder import ContextFolder
from stagebake.context.git_tree import GitTrees, TreeContext
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.project.git_history import list_commits
from stagebake.project.git_objects import GitObject
from tests.git.conftest import CreateRepository
from tests.support.repository import Repository


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_tree_context_of_commit_equals_its_checkout(tmp_path: Path, form: str) -> None:
    """Compare paths, links, ignore rules and fingerprints with the folder that a checkout makes."""
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", f"--object-format={form}", "--initial-branch=main")
    app = tmp_path / "app"
    repository.write_file("app/Dockerfile", "FROM scratch AS a\nCOPY deep /deep\nFROM scratch AS b\nCOPY . .\n")
    repository.write_file("app/.dockerignore", "*.log\n**/skip\n!deep/keep.log\n")
    for name in ("deep/er/x", "deep/keep.log", "out.log", "deep/skip", "späte datei", "run.sh"):
        repository.write_file(f"app/{name}", name)
    (app / "run.sh").chmod(0o755)
    (app / "link").symlink_to("deep/er/x")
    repository.commit_all()
    repository.write_file("app/deep/er/x", "changed")
    (app / "run.sh").chmod(0o644)
    repository.commit_all()
    for commit in list_commits(tmp_path, 5):
        repository.checkout(commit)
        on_disk = ContextFolder(app, app / "Dockerfile")
        with GitTrees(tmp_path) as trees:
            inside = TreeContext(trees=trees, revision=commit, folder="app", dockerfile="app/Dockerfile")
            assert inside.paths == on_disk.paths
            assert inside.links == on_disk.links
            assert inside.rules_name == on_disk.rules_name
            assert inside.rules == on_disk.rules
            assert inside.text == (app / "Dockerfile").read_text()
            if form == "sha1":
                graph = parse_dockerfile(inside.text)
                assert read_digests(graph, inside) == read_digests(graph, on_disk)


def read_digests(graph: Any, context: Any) -> dict[str, str]:
    fingerprints = fingerprint_stages(graph, BuildInputs(context=context))
    return {name: fingerprint.digest for name, fingerprint in fingerprints.items()}


def test_git_trees_of_next_commit_reads_changed_folders_only(create_repository: CreateRepository) -> None:
    repository = create_repository({"a/b/c/x": "1", "d/e": "1", "d/f/g": "1"}, {"a/b/c/x": "2"})
    read: list[str] = []

    class Counted(GitTrees):
        def read_object(self, name: str) -> GitObject | None:
            read.append(name)
            return super().read_object(name)

    with Counted(repository.folder) as trees:
        for commit in list_commits(repository.folder, 5):
            read.clear()
            tree = TreeContext(trees=trees, revision=commit, folder="", dockerfile="Dockerfile").tree
            assert "a/b/c/x" in trees.list_entries(tree)
    folders = ["", "a", "a/b", "a/b/c"]
    assert len(read) == 1 + len(folders)


def test_tree_context_with_links_follows_them_inside_the_commit(tmp_path: Path) -> None:
    """Follow links of the Dockerfile, the ignore file and the context; ignore those that leave the commit."""
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.write_file("my app/real", "FROM scratch\n")
    repository.write_file("my app/rules", "rules\n")
    (tmp_path / "my app/.dockerignore").symlink_to("rules")
    (tmp_path / "Dockerfile").symlink_to("my app/real")
    (tmp_path / "context").symlink_to("my app")
    (tmp_path / "astray").symlink_to("/etc/passwd")
    repository.commit_all()
    with GitTrees(tmp_path) as trees:
        found = TreeContext(trees=trees, revision="HEAD", folder="context", dockerfile="Dockerfile")
        assert found.text == "FROM scratch\n"
        assert found.rules == "rules\n"
        assert "real" in found.paths
        assert trees.read_text("HEAD:astray") is None
        assert trees.read_text("HEAD:my app/nothing here") is None
        of_file = TreeContext(trees=trees, revision="HEAD", folder="my app/real", dockerfile="Dockerfile")
        assert of_file.paths == ()
