"""Run stagebake where the environment lacks what it usually has: a home, a locale, git, a branch, all commits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stagebake.project.git import GitCheckout
from tests.git.conftest import CreateRepository
from tests.support.repository import Repository

DOCKERFILE = "FROM scratch AS base\nCOPY größe.txt /\nFROM base AS app\nCOPY a.txt /\n"
# A user id that /etc/passwd does not list has no home directory
UNKNOWN_USER = """\
import pwd, sys
def refuse(user): raise KeyError(user)
pwd.getpwuid = refuse
from stagebake.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
PROGRAM = ("-m", "stagebake")
LOCALES = {
    "C": {"LANG": "C"},
    "unknown": {"LC_ALL": "xx_YY.UTF-8"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii-output": {"PYTHONIOENCODING": "ascii"},
    "latin-1-output": {"PYTHONIOENCODING": "latin-1"},
}


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    repository = create_repository(
        {"Dockerfile": DOCKERFILE, "größe.txt": "1\n", "a.txt": "1\n"},
        {"a.txt": "2\n"},
    )
    repository.checkout()
    return repository


def run_verb(
    folder: Path, *arguments: str, program: tuple[str, ...] = PROGRAM, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run stagebake with these variables alone, where no engine answers; no answer may have a traceback."""
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": "unix:///nowhere.sock", **more}
    command = (sys.executable, *program, *arguments)
    answer = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        check=False,
    )
    assert "Traceback" not in answer.stderr, answer.stderr
    assert answer.returncode != 3
    return answer


@pytest.mark.parametrize("verb", ["plan", "doctor", "generate", "init"])
def test_verb_without_a_home_directory_works(repository: Repository, verb: str) -> None:
    answer = run_verb(repository.folder, verb, program=("-c", UNKNOWN_USER))
    assert answer.returncode == 0, answer.stderr


def test_plan_without_a_home_directory_has_one_warning_that_names_the_variable(repository: Repository) -> None:
    answer = run_verb(repository.folder, "plan", "--json", program=("-c", UNKNOWN_USER))
    (warning,) = json.loads(answer.stdout)["warnings"]
    assert warning.startswith("HOME is not set")
    answer = run_verb(repository.folder, "plan", "--json", program=("-c", UNKNOWN_USER), HOME=str(repository.folder))
    assert json.loads(answer.stdout)["warnings"] == []


def test_local_caches_without_a_home_directory_are_refused_by_name(repository: Repository) -> None:
    answer = run_verb(repository.folder, "plan", "--cache=local", program=("-c", UNKNOWN_USER))
    assert answer.returncode == 2
    assert "the home directory of `~/.cache/stagebake` is unknown" in answer.stderr
    assert "HOME" in answer.stderr


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("arguments", [("plan", "--since=HEAD~1"), ("build",)], ids=" ".join)
def test_verb_with_an_odd_locale_prints_what_it_always_does(
    repository: Repository, arguments: tuple[str, ...], locale: str
) -> None:
    """Expect the same lines, but for characters that the output's encoding lacks."""
    environment = {"HOME": str(repository.folder), "LANG": "C.UTF-8"}
    usual = run_verb(repository.folder, *arguments, program=PROGRAM, **environment)
    answer = run_verb(repository.folder, *arguments, program=PROGRAM, **{**environment, **LOCALES[locale]})
    assert answer.returncode == usual.returncode
    for stream, right in ((answer.stdout, usual.stdout), (answer.stderr, usual.stderr)):
        assert len(stream.splitlines()) == len(right.splitlines())


def test_verbs_without_git_name_it(repository: Repository, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    folder, home = repository.folder, str(tmp_path)
    assert run_verb(folder, "plan", PATH=str(empty), HOME=home).returncode == 0
    assert run_verb(folder, "doctor", PATH=str(empty), HOME=home).returncode == 0
    for arguments in (("plan", "--since=HEAD"), ("forecast", "--seconds=base=1,app=1")):
        answer = run_verb(folder, *arguments, PATH=str(empty), HOME=home)
        assert answer.returncode == 2
        assert "git is not installed" in answer.stderr


def test_explain_missing_branch_names_the_cause(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check a detached HEAD, a folder without a repository, and a machine without git."""
    repository.checkout("HEAD~1")
    assert GitCheckout(repository.folder).explain_missing_branch() == "HEAD is detached"
    assert GitCheckout(tmp_path).explain_missing_branch() == "git knows no repository here"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert GitCheckout(repository.folder).explain_missing_branch() == "git is not installed"


@pytest.mark.parametrize("arguments", [("plan", "--push"), ("generate",)], ids=" ".join)
def test_verb_on_a_detached_head_works(repository: Repository, arguments: tuple[str, ...]) -> None:
    repository.checkout("HEAD~1")
    assert run_verb(repository.folder, *arguments, HOME=str(repository.folder)).returncode == 0


def test_verbs_in_a_shallow_clone_say_how_to_fetch_the_commits(repository: Repository, tmp_path: Path) -> None:
    folder, home = tmp_path / "shallow", str(tmp_path)
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(folder))
    assert run_verb(folder, "plan", HOME=home).returncode == 0
    assert run_verb(folder, "doctor", HOME=home).returncode == 0
    answer = run_verb(folder, "plan", "--since=HEAD~1", HOME=home)
    assert answer.returncode == 2
    assert "git fetch --unshallow" in answer.stderr
