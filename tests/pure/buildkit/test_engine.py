"""Errors of an engine that does not answer, and of a docker that sees another /tmp."""

from __future__ import annotations

import pytest

from stagebake.buildkit.engine import explain_no_answer, refuse_hidden_folder
from stagebake.errors import EngineError

FOLDER = "/tmp/stagebake-x1"
NOT_RUNNING = "Is the docker daemon running?"


@pytest.mark.parametrize(
    ("message", "problem", "hint"),
    [
        (
            f"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. {NOT_RUNNING}",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock",
            "sudo systemctl start docker",
        ),
        (
            f"Cannot connect to the Docker daemon at unix:///run/user/1000/docker.sock. {NOT_RUNNING}",
            "the rootless Docker engine at unix:///run/user/1000/docker.sock does not answer",
            "systemctl --user start docker",
        ),
        (
            "failed to connect to the docker API at unix:///run/user/1000/docker.sock; check if the path is correct",
            "the rootless Docker engine at unix:///run/user/1000/docker.sock does not answer",
            "systemctl --user start docker",
        ),
        (
            f"Cannot connect to the Docker daemon at unix:///run/user/1000/podman/podman.sock. {NOT_RUNNING}",
            "the engine at unix:///run/user/1000/podman/podman.sock is podman",
            "install Docker Engine",
        ),
        (
            f"Cannot connect to the Docker daemon at unix:///Users/me/.docker/run/docker.sock. {NOT_RUNNING}",
            "Docker Desktop at unix:///Users/me/.docker/run/docker.sock does not answer",
            "start Docker Desktop",
        ),
        (
            f"Cannot connect to the Docker daemon at tcp://build.example:2376. {NOT_RUNNING}",
            "the Docker engine at tcp://build.example:2376 does not answer",
            "DOCKER_HOST",
        ),
        (
            'error during connect: Get "http://docker.example.com/v1.50/version": command [ssh -T -- nohost docker '
            "system dial-stdio] has exited with exit status 255, make sure the URL is valid: stderr=ssh: Could not "
            "resolve hostname nohost: Name or service not known\n",
            "the Docker engine is not reached over ssh: ssh: Could not resolve hostname nohost",
            "DOCKER_HOST",
        ),
        (
            'error during connect: Get "https://b:2376/v1.50/version": tls: failed to verify certificate\n',
            'the Docker engine is not reached: Get "https://b:2376/v1.50/version": tls: failed to verify certificate',
            "DOCKER_HOST",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "
            '"http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: permission denied\n',
            "you may not use the Docker engine at unix:///var/run/docker.sock",
            "usermod -aG docker",
        ),
        (
            'Failed to initialize: unable to resolve docker endpoint: context "old": context not found: open x\n',
            "unknown docker context `old`",
            "docker context ls",
        ),
        (
            'DOCKER_BUILDKIT environment variable expects boolean value: parsing "x": invalid syntax\n',
            "docker refuses its environment: DOCKER_BUILDKIT environment variable expects boolean value",
            "unset it",
        ),
        (
            "Failed to initialize: failed to set custom headers from DOCKER_CUSTOM_HEADERS environment variable: x\n",
            "docker refuses its environment: Failed to initialize: failed to set custom headers",
            "unset it",
        ),
        (
            "Failed to initialize: unable to resolve docker endpoint: open /root/.docker/ca.pem: no such file\n",
            "docker does not know how to reach its engine: open /root/.docker/ca.pem: no such file",
            "DOCKER_CERT_PATH",
        ),
        ("a message of the future", "no Docker engine answers: a message of the future", "start it"),
        ("", "no Docker engine answers", "start it"),
    ],
    ids=[
        "stopped", "rootless", "rootless-29", "podman-socket", "desktop", "tcp", "ssh", "tls", "permission", "context",
        "boolean", "headers",
        "certificates", "unknown", "empty",
    ],
)  # fmt: skip
def test_explain_no_answer_names_the_cause_and_what_to_do(message: str, problem: str, hint: str) -> None:
    error = explain_no_answer(message)
    assert error.problem.startswith(problem)
    assert hint in error.hint


@pytest.mark.parametrize(
    "message",
    [
        f"ERROR: open {FOLDER}/docker-bake.hcl: no such file or directory",
        f"ERROR: could not find {FOLDER}/choices.json: not found",
        f'ERROR: unable to prepare context: path "{FOLDER}" not found',
    ],
)
def test_refuse_hidden_folder_names_the_snap_and_the_variable(message: str) -> None:
    with pytest.raises(EngineError) as caught:
        refuse_hidden_folder(message, FOLDER)
    assert "docker from a snap" in caught.value.problem
    assert FOLDER in caught.value.problem
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize(
    "message",
    [
        "ERROR: open /srv/app/Dockerfile: no such file or directory",
        f"{FOLDER}/docker-bake.hcl:3,1-2: Unsupported argument",
        "",
    ],
)
def test_refuse_hidden_folder_with_another_message_accepts_it(message: str) -> None:
    refuse_hidden_folder(message, FOLDER)
