"""Test `stagebake doctor` on a real git repository."""

from __future__ import annotations

import json
import os
import pty
from typing import Any

import pytest

from tests.git.conftest import CreateRepository
from tests.support.repository import Change, Repository

DOCKERFILE = "FROM node:24 AS app\nCOPY . .\nRUN npm ci\n"


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    """Return a repository of eight commits that each change a copied file and an ignored one."""
    history: list[Change] = [
        {"Dockerfile": DOCKERFILE, "package.json": "{}", ".dockerignore": "notes\n", "notes/x": "1"},
    ]
    for number in range(7):
        change = {"a.ts": str(number), "notes/x": str(number)}
        history.append(change)
    repository = create_repository(*history)
    repository.checkout()
    return repository


def doctor_json(repository: Repository) -> Any:
    """Return what `doctor --json` prints."""
    answer = repository.stagebake("doctor", "--json", "--seconds=app=60")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_doctor_in_repository_counts_rebuilds(repository: Repository) -> None:
    findings = doctor_json(repository)["findings"]
    early = next(finding for finding in findings if finding["rule"] == "copy-before-install")
    assert "8 of the last 8 rebuilds (most often a.ts" in early["what"]
    assert early["line"] == 2
    assert early["seconds"] == 60


def test_doctor_without_engine_notes_missing_build_checks(repository: Repository) -> None:
    notes = doctor_json(repository)["notes"]
    assert any("BuildKit's build checks did not run" in note for note in notes)


def test_doctor_with_strict_exits_with_1_unless_all_rules_are_skipped(repository: Repository) -> None:
    findings = doctor_json(repository)["findings"]
    skipped = [f"--skip={finding['rule']}" for finding in findings]
    assert repository.stagebake("doctor", "--strict").returncode == 1
    assert repository.stagebake("doctor", "--strict", *skipped).returncode == 0


def test_doctor_settings_and_comments_choose_what_is_reported(repository: Repository) -> None:
    repository.write_file("Dockerfile", f"# stagebake: ignore=base-moves newest on purpose\n{DOCKERFILE}")
    repository.write_file("stagebake.toml", '[doctor]\nignore = ["cache-mount"]\nfail-on = ["copy-before-install"]\n')
    answer = repository.stagebake("doctor", "--json")
    rules = {finding["rule"] for finding in json.loads(answer.stdout)["findings"]}
    assert "copy-before-install" in rules
    assert not rules & {"base-moves", "cache-mount"}
    assert answer.returncode == 1
    assert repository.stagebake("doctor", "--ignore=copy-before-install").returncode == 0


def test_doctor_unknown_rule_is_named_with_its_place(repository: Repository) -> None:
    repository.write_file("stagebake.toml", '[doctor]\nignore = ["cache-mounts"]\n')
    answer = repository.stagebake("doctor")
    assert answer.returncode == 2
    assert "error: stagebake.toml:1: unknown rule `cache-mounts`" in answer.stderr


def test_doctor_output_writes_sarif_with_paths_of_the_repository(repository: Repository) -> None:
    repository.write_file("web/Dockerfile", DOCKERFILE)
    inner = Repository(repository.folder / "web")
    answer = inner.stagebake("doctor", "--format=sarif", "--output=out/doctor.sarif")
    assert (answer.returncode, answer.stdout) == (0, "")
    document = json.loads((inner.folder / "out/doctor.sarif").read_text(encoding="utf-8"))
    assert document["version"] == "2.1.0"
    places = [result["locations"][0]["physicalLocation"] for result in document["runs"][0]["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {"web/Dockerfile"}


LINKED = "FROM node:24\nWORKDIR /app\n# code\nCOPY . code/\n"


@pytest.fixture
def fixable(create_repository: CreateRepository) -> Repository:
    """Return a repository whose COPY can be linked, which changes the image."""
    repository = create_repository({"Dockerfile": LINKED, "a.ts": "1"})
    repository.checkout()
    return repository


def test_doctor_diff_prints_edits_and_writes_nothing(fixable: Repository) -> None:
    before = read_dockerfile(fixable)
    answer = fixable.stagebake("doctor", "--diff", "--unsafe-fixes")
    assert answer.returncode == 0
    assert "\n-COPY . code/\n+COPY --link . code/\n" in answer.stdout
    assert "changes the image: the folders on the way" in answer.stdout
    assert read_dockerfile(fixable) == before


def test_doctor_fix_does_what_is_unsafe_only_if_told(fixable: Repository) -> None:
    before = read_dockerfile(fixable)
    answer = fixable.stagebake("doctor", "--fix", "--yes")
    assert "not done without --unsafe-fixes: line 4: add --link" in answer.stdout
    assert read_dockerfile(fixable) == before
    answer = fixable.stagebake("doctor", "--fix", "--unsafe-fixes", "--yes")
    assert "wrote Dockerfile" in answer.stdout
    assert read_dockerfile(fixable) == before.replace("COPY .", "COPY --link .")
    fixable.commit_all()
    assert "Dockerfile: nothing to fix" in fixable.stagebake("doctor", "--fix", "--unsafe-fixes", "--yes").stdout


def test_doctor_fix_without_terminal_or_answer_is_refused(fixable: Repository) -> None:
    answer = fixable.stagebake("doctor", "--fix", "--unsafe-fixes")
    assert answer.returncode == 2
    assert "there is no terminal to ask in" in answer.stderr
    assert "--link" not in read_dockerfile(fixable)


@pytest.mark.parametrize("flag", ["", "--yes"])
def test_doctor_fix_of_a_file_with_uncommitted_changes_is_refused(fixable: Repository, flag: str) -> None:
    text = read_dockerfile(fixable) + "LABEL a=b\n"
    fixable.write_file("Dockerfile", text)
    answer = fixable.stagebake("doctor", "--fix", "--unsafe-fixes", *filter(None, [flag]))
    assert answer.returncode == 2
    assert "Dockerfile: git has no commit of this file as it is" in answer.stderr
    assert read_dockerfile(fixable) == text


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False)])
def test_doctor_fix_asks_in_a_terminal(fixable: Repository, answer: str, written: bool) -> None:
    fixable.write_file("Dockerfile", read_dockerfile(fixable) + "LABEL a=b\n")
    terminal, other_end = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    shown = fixable.stagebake("doctor", "--fix", "--unsafe-fixes", stdin=other_end)
    os.close(other_end)
    os.close(terminal)
    assert "write Dockerfile (git has no commit of it as it is)?" in shown.stdout
    assert ("COPY --link" in read_dockerfile(fixable)) is written


def test_doctor_fix_ignored_rule_is_not_fixed(fixable: Repository) -> None:
    answer = fixable.stagebake("doctor", "--diff", "--unsafe-fixes", "--ignore=copy-link")
    assert "nothing to fix" in answer.stdout


def test_doctor_fix_keeps_line_ends_and_other_encodings(create_repository: CreateRepository) -> None:
    repository = create_repository({"Dockerfile": "x", "a": "1"})
    repository.checkout()
    path = repository.folder / "Dockerfile"
    path.write_bytes(b"FROM debian\r\n# caf\xe9\r\nCOPY a /srv/\r\n")
    repository.commit_all()
    assert repository.stagebake("doctor", "--fix", "--unsafe-fixes", "--yes").returncode == 0
    assert path.read_bytes() == b"FROM debian\r\n# caf\xe9\r\nCOPY --link a /srv/\r\n"


def read_dockerfile(repository: Repository) -> str:
    return (repository.folder / "Dockerfile").read_text(encoding="utf-8")
