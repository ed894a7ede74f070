"""Show the real cause where `docker` is podman, comes from a snap, or reaches no engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.git.conftest import CreateRepository
from tests.support.repository import Repository

DOCKER_VERSION = (
    '{"Client": {"Version": "28.5.2"}, "Server": {"Version": "28.5.2", "Components": [{"Name": "Engine"}]}}'
)
PODMAN_VERSION = '{"Client": {"APIVersion": "4.9.3", "Version": "4.9.3"}}'
PODMAN_ENGINE = (
    '{"Client": {}, "Server": {"Version": "4.9.3", "Components": [{"Name": "Podman Engine", "Version": "4.9.3"}]}}'
)
PODMAN = f"""\
case "$1" in
  version) echo '{PODMAN_VERSION}' ;;
  --version) echo 'podman version 4.9.3' ;;
  *) exit 125 ;;
esac
"""
PODMAN_SOCKET = f"echo '{PODMAN_ENGINE}'\n"
SNAP = f"""\
for word; do
  case "$word" in
    --file=/*) echo "ERROR: open ${{word#--file=}}: no such file or directory" >&2; exit 1 ;;
    /*/stagebake-*) echo "ERROR: unable to prepare context: path \\"$word\\" not found" >&2; exit 1 ;;
  esac
done
case "$*" in
  "version"*) echo '{DOCKER_VERSION}' ;;
  "buildx version") echo 'github.com/docker/buildx v0.29.1 abc' ;;
  "info"* | "system info"*) echo '{{"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}}' ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    repository = create_repository({"Dockerfile": "FROM scratch AS app\nCOPY Dockerfile /\n"})
    repository.checkout()
    return repository


def run_with_docker(repository: Repository, script: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run stagebake with a `docker` that is this shell script; return the exit code and what it prints."""
    folder = repository.folder.parent / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    program.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(repository.folder), **variables}
    command = (sys.executable, "-m", "stagebake", *arguments)
    answer = subprocess.run(
        command, cwd=repository.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in answer.stderr
    return answer.returncode, " ".join((answer.stdout + answer.stderr).split())


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (PODMAN, "the command docker is podman and has no BuildKit: podman version 4.9.3"),
        (PODMAN_SOCKET, "the engine is podman 4.9.3, not Docker Engine"),
    ],
    ids=["command", "socket"],
)
def test_build_with_podman_names_podman(repository: Repository, script: str, problem: str) -> None:
    exit_code, printed = run_with_docker(repository, script, "build")
    assert exit_code == 4
    assert problem in printed
    assert "install Docker Engine with buildx" in printed


@pytest.mark.parametrize(("verb", "right_code"), [("build", 4), ("doctor", 0)])
def test_docker_that_sees_another_tmp_is_named(repository: Repository, verb: str, right_code: int) -> None:
    """Fail the build, and show doctor's own findings with a note."""
    exit_code, printed = run_with_docker(repository, SNAP, verb)
    assert exit_code == right_code
    assert "docker from a snap or in a container has a private /tmp" in printed
    assert "TMPDIR" in printed


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"DOCKER_HOST": "tcp://127.0.0.1:1"}, "the Docker engine at tcp://127.0.0.1:1 does not answer"),
        ({"DOCKER_CONTEXT": "unknown"}, "unknown docker context `unknown`"),
        ({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, "the rootless Docker engine at unix:///run/user/1000/"),
        ({"DOCKER_TLS_VERIFY": "1"}, "docker does not know how to reach its engine: "),
    ],
    ids=["remote", "context", "rootless", "certificates"],
)
def test_build_with_an_engine_that_is_not_reached_names_the_way(
    repository: Repository, variables: dict[str, str], problem: str
) -> None:
    """Ask the docker CLI of this machine."""
    docker = shutil.which("docker")
    exit_code, printed = run_with_docker(repository, f'exec {docker} "$@"\n', "build", **variables)
    assert exit_code == 4
    assert problem in printed
