"""Ask Docker what it can do (through python-on-whales), and run `docker buildx bake` as a process.

python-on-whales cannot run this call: it has no `--allow`, runs `bake --print` first, and leaves the process alive when
its stream is closed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from stagebake.buildkit.environment import bake_environment
from stagebake.buildkit.limits import DiskSpace
from stagebake.errors import EngineError, InputError

if TYPE_CHECKING:
    from python_on_whales import DockerClient
    from python_on_whales.components.system.models import SystemInfo
    from python_on_whales.docker_client import Version

LOWEST_ENGINE = (28, 0)
LOWEST_BUILDX = (0, 20)
_INSTALL_ENGINE = "https://docs.docker.com/engine/install/"
_INSTALL_BUILDX = "https://docs.docker.com/go/buildx/"
_START_ENGINE = "start it: sudo systemctl start docker, or Docker Desktop"
_CHECK_HOST = "start the engine on that host, correct DOCKER_HOST, or choose another: docker context ls"
_LIST_CONTEXTS = "list them: docker context ls; and correct DOCKER_CONTEXT, or run: docker context use default"
_USE_DOCKER = f"install Docker Engine with buildx ({_INSTALL_ENGINE}), and unset DOCKER_HOST if it names podman"

# Messages of the docker CLI about an engine that does not answer, the problem and what to do; the first match counts
_NO_ANSWERS = (
    (
        r"permission denied while trying to connect to .*? at (?P<address>\S+?):? ",
        "you may not use the Docker engine at {address}",
        "join its group: sudo usermod -aG docker $USER; and log in again",
    ),
    (
        r"context \"(?P<context>[^\"]+)\": context not found",
        "unknown docker context `{context}`",
        _LIST_CONTEXTS,
    ),
    (
        r"command \[ssh .*stderr=(?P<reason>.+)",
        "the Docker engine is not reached over ssh: {reason}",
        _CHECK_HOST,
    ),
    (
        r"(?:[Cc]annot|[Ff]ailed to) connect to .*? at (?P<address>unix://\S*podman\S*?\.sock)",
        "the engine at {address} is podman, and does not answer",
        _USE_DOCKER,
    ),
    (
        r"(?:[Cc]annot|[Ff]ailed to) connect to .*? at (?P<address>unix://\S*/run/user/\S*?\.sock)",
        "the rootless Docker engine at {address} does not answer",
        "start it: systemctl --user start docker",
    ),
    (
        r"(?:[Cc]annot|[Ff]ailed to) connect to .*? at (?P<address>unix://\S*/\.docker/\S*?\.sock)",
        "Docker Desktop at {address} does not answer",
        "start Docker Desktop",
    ),
    (
        r"(?P<message>Cannot connect to the Docker daemon at unix://\S+?)[.;] ",
        "{message}",
        _START_ENGINE,
    ),
    (
        r"(?:[Cc]annot|[Ff]ailed to) connect to .*? at (?P<address>(?:tcp|https?|ssh)://\S+?)[.;] ",
        "the Docker engine at {address} does not answer",
        _CHECK_HOST,
    ),
    (
        r"error during connect: (?P<reason>.+)",
        "the Docker engine is not reached: {reason}",
        _CHECK_HOST,
    ),
    (
        r"unable to resolve docker endpoint: (?P<reason>.+)",
        "docker does not know how to reach its engine: {reason}",
        "correct DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
    ),
    (
        r"(?P<reason>.*\bDOCKER_[A-Z_]+ environment variable\b.+)",
        "docker refuses its environment: {reason}",
        "correct that variable, or unset it",
    ),
)

# Seconds that buildx has to list its results
_LIST_SECONDS = 60.0
# Seconds that buildx has to cancel its build
_CANCEL_SECONDS = 15.0
# Seconds between two checks whether the call must stop, while buildx prints nothing
_CHECK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class BakeCall:
    """Arguments of one `docker buildx bake`. `files` are bake files as text; bake merges later ones over earlier ones.

    `variables` are environment variables, `allow` are values of `--allow`.
    """

    target: str
    files: Mapping[str, str]
    variables: Mapping[str, str]
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BakeResult:
    """Result of a bake call; `digest` is that of the image."""

    exit_code: int
    digest: str | None


class BuildEngine(Protocol):
    """Run bake calls; `Engine` is the one that users have, tests may pass another."""

    @property
    def exports_caches(self) -> bool:
        """Tell whether a bake call can write caches."""

    def list_results(self) -> str:
        """Return the stored results of steps, one JSON object a line."""

    def run_bake(self, call: BakeCall, on_line: Callable[[str], None], must_stop: Callable[[], bool]) -> BakeResult:
        """Run one bake call: pass each line to `on_line`, and cancel the build when `must_stop` says so."""


class Engine:
    """Docker engine and buildx builder. Paths in bake files are relative to `root`."""

    def __init__(self, root: Path, builder: str | None = None) -> None:
        self.root = root
        self._builder = builder

    @cached_property
    def _client(self) -> DockerClient:
        """Return the client. It is slow to load, and most verbs need no engine."""
        from python_on_whales import DockerClient

        return DockerClient()

    @cached_property
    def _info(self) -> SystemInfo:
        """Return what `docker info` says. Raises DockerException."""
        return self._client.system.info()

    def check_versions(self) -> None:
        """Raise EngineError, with the command that helps, where the engine or buildx is missing or too old.

        Raise InputError where the named builder is unknown.
        """
        from python_on_whales.client_config import ClientNotFoundError
        from python_on_whales.exceptions import DockerException

        try:
            version = self._client.version()
        except ClientNotFoundError:
            raise EngineError("no `docker` on PATH", f"install Docker Engine: {_INSTALL_ENGINE}") from None
        except DockerException as error:
            raise explain_no_answer(error.stderr or "") from None
        _refuse_podman(version)
        server = version.server.version if version.server else None
        if server is None:
            raise EngineError("no Docker engine answers", _START_ENGINE)
        _refuse_older("Docker Engine", server, LOWEST_ENGINE, _INSTALL_ENGINE)
        try:
            buildx = self._client.buildx.version()
        except DockerException:
            raise EngineError("docker has no buildx plugin", f"install it: {_INSTALL_BUILDX}") from None
        _refuse_older("buildx", buildx, LOWEST_BUILDX, _INSTALL_BUILDX)
        self._refuse_unknown_builder()

    def _refuse_unknown_builder(self) -> None:
        from python_on_whales.exceptions import DockerException

        name = self._builder or os.environ.get("BUILDX_BUILDER")
        if not name:
            return
        try:
            self._client.buildx.inspect(name)
        except DockerException:
            origin = "--builder" if self._builder else "BUILDX_BUILDER"
            raise InputError(
                f"{origin}: buildx has no builder `{name}`",
                f"list them: docker buildx ls; or create one: docker buildx create --name {name}",
            ) from None

    def list_results(self) -> str:
        """Return what `docker buildx du` prints as JSON lines; empty where it fails."""
        command = ["docker", "buildx", "du", "--format=json"]
        if self._builder:
            command.append(f"--builder={self._builder}")
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=_LIST_SECONDS, check=False).stdout
        except (OSError, subprocess.SubprocessError):
            return ""

    def read_disk_space(self) -> DiskSpace | None:
        """Return the free disk of an engine on this machine; None of another engine, or where it is unknown."""
        from python_on_whales.exceptions import DockerException

        try:
            info = self._info
            if info.name != platform.node() or info.docker_root_dir is None:
                return None
            return DiskSpace(folder=str(info.docker_root_dir), free=shutil.disk_usage(info.docker_root_dir).free)
        except (DockerException, OSError, ValueError):
            return None

    @cached_property
    def exports_caches(self) -> bool:
        """Tell whether the builder can write caches: the `docker` driver needs the containerd image store for it."""
        for pair in self._info.driver_status or []:
            if any("io.containerd.snapshotter" in str(word) for word in pair):
                return True
        return bool(self._client.buildx.inspect(self._builder).driver != "docker")

    def run_bake(self, call: BakeCall, on_line: Callable[[str], None], must_stop: Callable[[], bool]) -> BakeResult:
        """Run one bake call and pass each line of its events to `on_line`.

        When `on_line` or a signal interrupts it, cancel the build before the exception leaves. Call `must_stop` after
        each line and several times per second; when it returns True, cancel the build, which then has failed.
        """
        with tempfile.TemporaryDirectory(prefix="stagebake-") as folder:
            metadata = Path(folder, "metadata.json")
            command = self._write_command(call, Path(folder), metadata)
            environment = bake_environment(os.environ, call.variables)

            def observe_line(line: str) -> None:
                refuse_hidden_folder(line, folder)
                on_line(line)

            exit_code = _stream_command(command, self.root, environment, observe_line, must_stop)
            return BakeResult(exit_code=exit_code, digest=_read_digest(metadata))

    def _write_command(self, call: BakeCall, folder: Path, metadata: Path) -> list[str]:
        """Write the bake files into a folder and return the command that reads them."""
        command = ["docker", "buildx", "bake", "--progress=rawjson", f"--metadata-file={metadata}"]
        if self._builder:
            command.append(f"--builder={self._builder}")
        for name, text in call.files.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            command.append(f"--file={path}")
        command += [f"--allow={permission}" for permission in call.allow]
        return [*command, call.target]


def _stream_command(
    command: list[str],
    root: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    must_stop: Callable[[], bool],
) -> int:
    process = subprocess.Popen(
        command,
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # ^C of the terminal reaches stagebake alone, which passes it on once
    )
    try:
        for line in _read_lines(process):
            if line:
                on_line(line)
            if must_stop():
                _cancel_build(process)
        return process.wait()
    finally:
        _cancel_build(process)


def _read_lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield each line that the process prints, and an empty line whenever it prints nothing for a moment.

    A thread reads the pipe: Python handles a signal only after a blocking read returns.
    """
    lines: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_forward_lines, args=(process, lines.put), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_CHECK_SECONDS)
        except Empty:
            line = ""
        if line is None:
            return
        yield line


def _forward_lines(process: subprocess.Popen[str], put: Callable[[str | None], None]) -> None:
    """Put each line that the process prints, and None at the end."""
    try:
        with process.stderr or nullcontext(()) as lines:
            for line in lines:
                put(line)
    finally:
        put(None)


def _cancel_build(process: subprocess.Popen[str]) -> None:
    """Interrupt buildx so that it cancels its build; kill it where it does not end.

    Signal the whole group: older versions of docker do not pass a signal on to buildx.
    """
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_CANCEL_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read_digest(metadata: Path) -> str | None:
    """Return the image's digest from bake's metadata file."""
    try:
        targets = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for target in targets.values():
        digest = target.get("containerimage.digest") if isinstance(target, dict) else None
        if digest:
            return str(digest)
    return None


def explain_no_answer(message: str) -> EngineError:
    """Return the error for an engine that does not answer: the cause that the docker CLI's message names."""
    line = " ".join(message.split())
    for pattern, problem, hint in _NO_ANSWERS:
        found = re.search(pattern, f"{line} ")
        if found:
            fields = {name: value.strip() for name, value in found.groupdict().items()}
            return EngineError(problem.format(**fields), hint)
    detail = f": {line}" if line else ""
    return EngineError(f"no Docker engine answers{detail}", _START_ENGINE)


def refuse_hidden_folder(message: str, folder: str) -> None:
    """Raise EngineError for docker's message that a temporary folder of stagebake, or a file in it, is missing.

    Docker then has another /tmp: the one of a snap is private (snapcraft.io/docs/snap-confinement).
    """
    if folder in message and re.search(r"no such file or directory|\bnot found\b", message):
        raise EngineError(
            f"docker does not see {folder}: docker from a snap or in a container has a private /tmp",
            "choose a folder that docker sees: mkdir -p ~/tmp && export TMPDIR=~/tmp (in a snap, not a hidden one); "
            f"or install Docker Engine without the snap: {_INSTALL_ENGINE}",
        )


def _refuse_podman(version: Version) -> None:
    """Raise EngineError where `docker` is podman, or the engine is; podman has no BuildKit."""
    server = version.server
    components = server.components if server else None
    for component in components or ():
        if component.name and component.name.startswith("Podman"):
            raise EngineError(f"the engine is podman {component.version}, not Docker Engine", _USE_DOCKER)
    if components:
        return
    answer = subprocess.run(["docker", "--version"], capture_output=True, check=False)
    program = answer.stdout.decode(errors="replace").strip()
    if program.startswith("podman"):
        raise EngineError(f"the command docker is podman and has no BuildKit: {program}", _USE_DOCKER)


def _refuse_older(program: str, version: str, lowest: tuple[int, int], address: str) -> None:
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < lowest:
        required = f"{lowest[0]}.{lowest[1]}"
        raise EngineError(f"{program} {found[0]} is too old: stagebake needs {required} or later", f"update: {address}")
