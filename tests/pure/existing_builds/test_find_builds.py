"""Builds in the files of a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError
from stagebake.existing_builds.find_builds import find_builds, read_builds
from stagebake.generate.bake_file import BAKE_FILE, render_bake_file
from stagebake.generate.workflow import WORKFLOW_FILE, render_workflow
from stagebake.project.settings import Settings

GRAPH = parse_dockerfile("FROM debian AS app\n")
STEP = "jobs:\n  build:\n    steps:\n      - uses: docker/build-push-action@v6\n"


def write_file(root: Path, path: str, text: str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


def test_find_builds_reads_workflows_first_then_bake_and_compose_files(tmp_path: Path) -> None:
    write_file(tmp_path, ".github/workflows/b.yaml", STEP)
    write_file(tmp_path, "compose.yaml", "services:\n  web:\n    build: .\n")
    write_file(tmp_path, "docker-bake.hcl", 'target "app" {\n}\n')
    names = [entry.names[-1] for entry in find_builds(tmp_path, None).builds]
    assert names == [".github/workflows/b.yaml:4", "docker-bake.hcl:app", "compose.yaml:web"]


def test_find_builds_ignores_what_stagebake_wrote(tmp_path: Path) -> None:
    write_file(tmp_path, WORKFLOW_FILE, render_workflow(GRAPH, Settings()))
    write_file(tmp_path, BAKE_FILE, render_bake_file(GRAPH, Settings(image="ghcr.io/o/n")))
    assert find_builds(tmp_path, None).builds == ()


def test_find_builds_with_files_that_are_not_valid_names_their_lines(tmp_path: Path) -> None:
    write_file(tmp_path, ".github/workflows/a.yml", "jobs:\n  [\n")
    write_file(tmp_path, "docker-bake.json", "{")
    problems = find_builds(tmp_path, None).problems
    assert [problem.partition(": ")[0] for problem in problems] == [".github/workflows/a.yml:3", "docker-bake.json:1"]


def test_read_builds_of_a_missing_file_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"other\.yml:1: not readable"):
        read_builds(tmp_path, "other.yml", None)
