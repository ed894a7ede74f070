"""Start the BuildKit that STAGEBAKE_TEST_BUILDER names, instead of the engine's own one.

`buildkitd:PROGRAM` starts this program, which buildx reaches with the driver `remote`. `docker-container:IMAGE` starts
this image with the driver `docker-container`. Either pulls the base images from a registry, as it has no local store.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.support.daemon import Daemon, find
from tests.support.registry import Registry

BUILDER_VARIABLE = "STAGEBAKE_TEST_BUILDER"
CHOSEN_BUILDER = os.environ.get(BUILDER_VARIABLE, "")

# A bake call without an output loads the image, as it does with the driver `docker`
_LIKE_DOCKER = "--driver-opt=default-load=true"

RunDocker = Callable[..., str]
"""Run `docker ARGUMENTS` and return its output."""


class ChosenBuilder(Protocol):
    """Builder with a name that buildx knows."""

    name: str

    def empty(self) -> None:
        """Replace the builder by an empty one of the same name."""

    def stop(self) -> None:
        """End the builder and remove all that it wrote."""

    def log(self) -> str:
        """Return the output of its BuildKit."""


def start_builder(chosen: str, folder: Path, docker: RunDocker, registry: Registry) -> ChosenBuilder:
    """Start the builder that `chosen` names, with its files in `folder`. Raise ValueError for an unknown kind."""
    kind, _, value = chosen.partition(":")
    if kind == "buildkitd":
        return BuildkitProcess(value, folder, docker)
    if kind == "docker-container":
        return BuildkitContainer(value, docker, registry)
    raise ValueError(f"{BUILDER_VARIABLE}={chosen}: write buildkitd:PROGRAM or docker-container:IMAGE")


class BuildkitProcess:
    """buildkitd as a process, behind a builder of the driver `remote`. It uses the `runc` of this machine."""

    def __init__(self, program: str, folder: Path, docker: RunDocker) -> None:
        self.name = _unused_name()
        self._program = program
        self._folder = folder
        self._socket = folder / "buildkitd.sock"
        self._docker = docker
        self._start()
        docker(
            "buildx", "create", f"--name={self.name}", "--driver=remote", _LIKE_DOCKER, f"unix://{self._socket}"
        )  # fmt: skip

    def _start(self) -> None:
        folder = self._folder
        folder.mkdir()
        (folder / "buildkitd.toml").touch()  # that of the machine is not read
        command = [
            self._program,
            f"--config={folder}/buildkitd.toml",
            f"--root={folder}/root",
            f"--addr=unix://{self._socket}",
            f"--otel-socket-path={folder}/otel.sock",
            "--containerd-worker=false",
            "--oci-worker-gc=false",
            "--allow-insecure-entitlement=network.host",
        ]
        self._daemon = Daemon(command, folder / "buildkitd.log")
        self._daemon.wait_until(lambda: "running server on" in self._daemon.text())

    def empty(self) -> None:
        self._stop_process()
        self._start()

    def stop(self) -> None:
        self._docker("buildx", "rm", self.name)
        self._stop_process()

    def log(self) -> str:
        return self._daemon.text()

    def _stop_process(self) -> None:
        self._daemon.stop()
        unmount_below(self._folder)
        shutil.rmtree(self._folder)


class BuildkitContainer:
    """BuildKit in a container of the engine.

    buildx pulls the image each time that it starts the container, so the image is copied to a registry of the tests.
    """

    def __init__(self, image: str, docker: RunDocker, registry: Registry) -> None:
        self.name = _unused_name()
        self._docker = docker
        self._image = f"{registry.host}/buildkit:1"
        docker("image", "pull", "--quiet", image)
        docker("image", "tag", image, self._image)
        docker("image", "push", "--quiet", self._image)
        self._start()

    def _start(self) -> None:
        self._docker(
            "buildx", "create", f"--name={self.name}", "--driver=docker-container", "--bootstrap", _LIKE_DOCKER,
            f"--driver-opt=image={self._image}", "--driver-opt=network=host",
            "--buildkitd-flags=--allow-insecure-entitlement=network.host",
        )  # fmt: skip

    def empty(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._docker("buildx", "rm", "--force", self.name)

    def log(self) -> str:
        return self._docker("container", "logs", f"buildx_buildkit_{self.name}0")


def unmount_below(folder: Path) -> None:
    """Unmount what is mounted below a folder, the innermost first."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    mounts = [mount for line in lines if (mount := line.split()[1]).startswith(f"{folder}/")]
    for mount in reversed(mounts):
        subprocess.run([find("umount"), "--lazy", mount], check=True)


def _unused_name() -> str:
    return f"stagebake-{secrets.token_hex(4)}"
