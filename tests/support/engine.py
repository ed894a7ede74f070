"""Run a Docker engine for the tests; it shares nothing with the machine's own engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.archive import Base, join_archives
from tests.support.bridge import Bridge
from tests.support.chosen_builder import ChosenBuilder, start_builder, unmount_below
from tests.support.daemon import Daemon
from tests.support.preloaded import PreloadedStagebake
from tests.support.registry import Registry

# The engine asks the registry in a name first. This address refuses at once; a host name might wait for a name server
NO_REGISTRY = "127.0.0.1:1"

_CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{folder}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/containerd.sock"
"""


class Engine:
    """Docker engine and containerd in one folder, whose path is short: a socket's has at most 108 characters.

    It has only the base images. `home` is that of the programs that talk to it; `flags` are dockerd's. Projects on it
    run stagebake in a process that `preloaded` forks, or start one where that is None. They build on another BuildKit
    where `builder` names one (see chosen_builder.py), which pulls the base images from a registry that only they use.
    A command may take `patience` seconds.
    """

    preloaded: PreloadedStagebake | None = None
    patience = 900.0

    def __init__(
        self, folder: Path, home: Path, bases: tuple[Base, ...], flags: tuple[str, ...] = (), builder: str = ""
    ) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self._folder = folder
        self._home = home
        self._base_names = [base.name for base in bases]
        self._base_registry: Registry | None = None
        self._builder: ChosenBuilder | None = None
        self._images = join_archives(bases, home / f"{folder.name}.tar") if bases else None
        self._flags = flags
        self._bridge: Bridge | None = None
        self._daemons: list[Daemon] = []
        self._link_buildx()
        self._start()
        if builder:
            self._start_builder(builder)

    def environment(self) -> dict[str, str]:
        """Return the variables that a program needs to find this engine, and none of the machine's own settings."""
        builder = {"BUILDX_BUILDER": self._builder.name} if self._builder else {}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self._home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "BUILDX_CONFIG": f"{self._home}/buildx",
            **builder,
        }

    @property
    def has_own_buildkit(self) -> bool:
        """Tell whether projects build with the BuildKit inside this engine, which sees the engine's images."""
        return self._builder is None

    def base_reference(self, name: str) -> str:
        """Return where a build finds a base image of this name: in the engine, or in the registry of the builder."""
        return name.replace(NO_REGISTRY, self._base_registry.host) if self._base_registry else name

    def share_bases(self) -> None:
        """Push the present base images to the registry that the builder pulls them from, if there is one."""
        for name in self._base_names if self._base_registry else ():
            shared = self.base_reference(name)
            self.docker("image", "tag", name, shared)
            self.docker("image", "push", "--quiet", shared)
            self.docker("image", "rm", shared)

    def docker(self, *arguments: str) -> str:
        """Run `docker ARGUMENTS` and return its output."""
        answer = self.run("docker", *arguments, folder=self._folder)
        assert answer.returncode == 0, f"docker {' '.join(arguments)}: {answer.stderr}"
        return answer.stdout

    def run(self, *command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to this engine."""
        return subprocess.run(
            command,
            cwd=folder,
            env={**self.environment(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.patience,
        )

    def empty(self) -> None:
        """Replace the engine, or the builder, by one that has only the base images, as on a new runner."""
        if self._builder:
            self.docker("image", "prune", "--all", "--force")
            self._load_bases()
            self._builder.empty()
        else:
            self._stop_engine()
            self._start()

    def lose_steps(self) -> None:
        """Remove the results of steps on which nothing is built yet; BuildKit still lists them.

        A build that is cancelled while such a result is used leaves the same.
        """
        snapshots = ("ctr", f"--address={self._folder}/containerd.sock", "--namespace=moby", "snapshots")
        listed = self.run(*snapshots, "ls", folder=self._folder).stdout.splitlines()
        active = [line.split()[0] for line in listed if line.rstrip().endswith("Active")]
        steps = self.docker("buildx", "du", "--verbose", "--filter=type=regular")
        lost = [name for name in active if name in steps]
        assert lost, listed
        assert self.run(*snapshots, "rm", *lost, folder=self._folder).returncode == 0

    def log(self) -> str:
        """Return the output of the builder or of the daemon; nothing of an engine that was stopped."""
        if self._builder:
            return self._builder.log()
        return self._daemons[-1].text() if self._daemons else ""

    def written_bytes(self) -> int:
        """Return the bytes that engine and steps have written to disk since the start, without a chosen builder."""
        return sum(daemon.written_bytes() for daemon in self._daemons)

    def stop(self) -> None:
        """End the daemons and remove all that they wrote."""
        if self._builder:
            self._builder.stop()
            self._builder = None
        if self._base_registry:
            self._base_registry.stop()
            self._base_registry = None
        self._stop_engine()

    def _stop_engine(self) -> None:
        while self._daemons:
            self._daemons.pop().stop()
        unmount_below(self._folder)
        if self._bridge:
            self._bridge.remove()
            self._bridge = None
        shutil.rmtree(self._folder)

    def _start(self) -> None:
        self._folder.mkdir()
        try:
            self._start_containerd()
            self._start_dockerd()
            self._load_bases()
        except BaseException:
            self._stop_engine()
            raise

    def _load_bases(self) -> None:
        if self._images:
            self.docker("image", "load", "--quiet", "--input", str(self._images))
            self.share_bases()

    def _start_builder(self, chosen: str) -> None:
        folder = self._home / f"{self._folder.name}-bases"
        folder.mkdir()
        try:
            self._base_registry = Registry(folder)
            self.share_bases()
            builder_folder = self._home / f"{self._folder.name}-builder"
            self._builder = start_builder(chosen, builder_folder, self.docker, self._base_registry)
        except BaseException:
            self.stop()
            raise

    def _link_buildx(self) -> None:
        """Let docker use the buildx on PATH, where there is one; docker itself looks in its own folders only."""
        program, link = shutil.which("docker-buildx"), self._home / "cli-plugins/docker-buildx"
        if program and not link.exists():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(program)

    def _start_containerd(self) -> None:
        folder = self._folder
        (folder / "containerd.toml").write_text(_CONTAINERD.format(folder=folder), encoding="utf-8")
        daemon = Daemon(["containerd", "--config", f"{folder}/containerd.toml"], folder / "containerd.log")
        self._daemons.append(daemon)
        daemon.wait_until((folder / "containerd.sock").exists)

    def _start_dockerd(self) -> None:
        folder = self._folder
        (folder / "daemon.json").write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
        self._bridge = Bridge()
        command = [
            "dockerd",
            f"--host={self.host}",
            f"--config-file={folder}/daemon.json",
            f"--containerd={folder}/containerd.sock",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--bridge={self._bridge.name}",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-masq=false",
            "--ip-forward=false",
            "--userland-proxy=false",
            *self._flags,
        ]
        daemon = Daemon(command, folder / "dockerd.log")
        self._daemons.append(daemon)
        daemon.wait_until(lambda: "API listen on" in daemon.text())
