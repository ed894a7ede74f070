"""A Docker engine of the tests' own: nothing of it is shared with an engine that the machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.archive import Base, join_archives
from tests.support.bridge import Bridge
from tests.support.daemon import Daemon, find
from tests.support.preloaded import PreloadedStagebake

_CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{folder}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/containerd.sock"
"""


class Engine:
    """dockerd and a containerd of its own in one folder, whose path is short: a socket's may have 108 characters.

    It knows the base images and nothing else. `home` is that of the programs that talk to it; `flags` are dockerd's.
    Projects on it run stagebake in a process that `preloaded` forks, or start one where that is None.
    """

    preloaded: PreloadedStagebake | None = None

    def __init__(self, folder: Path, home: Path, bases: tuple[Base, ...], flags: tuple[str, ...] = ()) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self._folder = folder
        self._home = home
        self._images = join_archives(bases, home / f"{folder.name}.tar") if bases else None
        self._flags = flags
        self._bridge: Bridge | None = None
        self._daemons: list[Daemon] = []
        self._start()

    def environment(self) -> dict[str, str]:
        """All that a program needs to find this engine, and nothing of the machine's own settings."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self._home),
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def docker(self, *arguments: str) -> str:
        """Runs `docker ARGUMENTS` and returns what it printed."""
        answer = self.run("docker", *arguments, folder=self._folder)
        assert answer.returncode == 0, f"docker {' '.join(arguments)}: {answer.stderr}"
        return answer.stdout

    def run(self, *command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command that talks to this engine."""
        return subprocess.run(
            command,
            cwd=folder,
            env={**self.environment(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=900,
        )

    def empty(self) -> None:
        """Forgets all but the base images: another engine takes its place, as on a runner that starts anew."""
        self.stop()
        self._start()

    def lose_steps(self) -> None:
        """Removes the results of steps on which nothing was built yet; BuildKit still takes them for there.

        A build that is cancelled while such a result is kept leaves the same.
        """
        snapshots = ("ctr", f"--address={self._folder}/containerd.sock", "--namespace=moby", "snapshots")
        listed = self.run(*snapshots, "ls", folder=self._folder).stdout.splitlines()
        active = [line.split()[0] for line in listed if line.rstrip().endswith("Active")]
        steps = self.docker("buildx", "du", "--verbose", "--filter=type=regular")
        lost = [name for name in active if name in steps]
        assert lost, listed
        assert self.run(*snapshots, "rm", *lost, folder=self._folder).returncode == 0

    def log(self) -> str:
        """What the daemon has printed; nothing of one that was stopped."""
        return self._daemons[-1].text() if self._daemons else ""

    def stop(self) -> None:
        """Ends the daemons and removes all that they wrote."""
        while self._daemons:
            self._daemons.pop().stop()
        for mount in reversed(_mounts_below(self._folder)):
            subprocess.run([find("umount"), "--lazy", mount], check=True)
        if self._bridge:
            self._bridge.remove()
            self._bridge = None
        shutil.rmtree(self._folder)

    def _start(self) -> None:
        self._folder.mkdir()
        try:
            self._start_containerd()
            self._start_dockerd()
            if self._images:
                self.docker("image", "load", "--quiet", "--input", str(self._images))
        except BaseException:
            self.stop()
            raise

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


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [mount for line in lines if (mount := line.split()[1]).startswith(f"{folder}/")]
