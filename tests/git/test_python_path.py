"""Run stagebake in a repository whose files have the names of Python's modules and of its dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.git.conftest import CreateRepository
from tests.support.repository import Repository

MODULES = ("queue.py", "httpx/__init__.py", "rich/__init__.py", "e2b_dockerfile_utils.py", "types.py")
NOXFILE = "from stagebake.sessions import *\n"


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    """Return a repository whose modules print IMPORTED."""
    modules = dict.fromkeys(MODULES, 'print("IMPORTED", __name__)\n')
    repository = create_repository({"Dockerfile": "FROM scratch AS app\n", "noxfile.py": NOXFILE, **modules})
    repository.checkout()
    return repository


def run_python(repository: Repository, *arguments: str, **variables: str) -> str:
    """Run Python in the repository; return everything that it prints. `variables` are added to the environment."""
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(repository.folder),
        "DOCKER_HOST": "unix:///nowhere.sock",
        **variables,
    }
    command = (sys.executable, *arguments)
    answer = subprocess.run(
        command, cwd=repository.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout + answer.stderr


def test_stagebake_as_a_module_imports_nothing_from_the_working_folder(repository: Repository) -> None:
    """Python itself imports `types` before it finds stagebake, so `python -m` fails with that file anywhere."""
    (repository.folder / "types.py").unlink()
    printed = run_python(repository, "-m", "stagebake", "plan")
    assert "app" in printed
    assert "IMPORTED" not in printed


def test_nox_session_imports_nothing_from_the_repository(repository: Repository) -> None:
    printed = run_python(repository, "-P", "-m", "nox", "-s", "plan")
    assert "app" in printed
    assert "IMPORTED" not in printed


def test_nox_session_with_the_repository_on_python_path_imports_nothing_for_stagebake(repository: Repository) -> None:
    """Python runs sitecustomize for nox itself, which the user's PYTHONPATH asks for, and not for stagebake."""
    for name in MODULES:
        if not name.startswith("rich"):
            (repository.folder / name).unlink()
    repository.write_file("sitecustomize.py", 'print("CUSTOMIZED")\n')
    path = os.pathsep.join((".", os.environ.get("PYTHONPATH", "")))
    printed = run_python(repository, "-P", "-m", "nox", "-s", "plan", PYTHONPATH=path)
    assert "IMPORTED" not in printed
    assert printed.count("CUSTOMIZED") == 1
