"""Command that each Nox session runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import stagebake
from stagebake.sessions import stagebake as run_stagebake

INSTALLED = str(Path(stagebake.__file__).resolve().parents[1])


class FakeSession:
    """Session that records what it runs."""

    def __init__(self) -> None:
        self.command: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}

    def run(self, *command: str, env: dict[str, str], **_: Any) -> None:
        self.command = command
        self.environment = env


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    monkeypatch.chdir(tmp_path)
    return FakeSession()


def test_session_runs_stagebake_without_the_working_folder_on_the_path(session: FakeSession) -> None:
    run_stagebake(session, "plan", "--json")  # type: ignore[arg-type]
    assert session.command[1:] == ("-P", "-m", "stagebake", "plan", "--json")


@pytest.mark.parametrize("entry", ["", ".", "lib", "{here}", "{here}/src"])
def test_session_with_python_path_in_the_repository_drops_it(
    session: FakeSession, entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [entry.format(here=tmp_path), "/opt/modules", INSTALLED]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(written))
    run_stagebake(session, "plan")  # type: ignore[arg-type]
    assert session.environment["PYTHONPATH"] == os.pathsep.join(written[1:])


def test_session_in_the_folder_that_stagebake_is_in_keeps_it(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(INSTALLED).parent)
    monkeypatch.setenv("PYTHONPATH", INSTALLED)
    run_stagebake(session, "plan")  # type: ignore[arg-type]
    assert session.environment["PYTHONPATH"] == INSTALLED


def test_session_with_a_given_variable_passes_it_on(session: FakeSession) -> None:
    run_stagebake(session, "plan", DOCKER_HOST="unix:///nowhere.sock")  # type: ignore[arg-type]
    assert session.environment["DOCKER_HOST"] == "unix:///nowhere.sock"
