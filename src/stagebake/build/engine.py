"""Ask Docker what it can do (through python-on-whales), and run `docker buildx bake` as a process.

python-on-whales cannot run this call: it has no `--allow`, runs `bake --print` first, and leaves the process alive when
its stream is closed.
"""

from __future__ import annotations

import json
import os
import re
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

from stagebake.errors import EngineError, InputError

if TYPE_CHECKING:
    from python_on_whales import DockerClient

LOWEST_ENGINE = (28, 0)
LOWEST_BUILDX = (0, 20)
_INSTALL_ENGINE = "https://docs.docker.com/engine/install/"
_INSTALL_BUILDX = "https://docs.docker.com/go/buildx/"
_START_ENGINE = "start it: sudo systemctl start docker, or Docker Desktop"

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
            raise _explain_no_answer(str(error)) from None
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

    @cached_property
    def exports_caches(self) -> bool:
        """Tell whether the builder can write caches: the `docker` driver needs the containerd image store for it."""
        for pair in self._client.system.info().driver_status or []:
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
            environment = {**os.environ, **call.variables, "BUILDX_METADATA_PROVENANCE": "disabled"}
            exit_code = _stream_command(command, self.root, environment, on_line, must_stop)
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
        text=True,
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


def _explain_no_answer(message: str) -> EngineError:
    reason = re.search(r"Cannot connect to the Docker daemon at \S+", message)
    what = reason[0].rstrip(".") if reason else "no Docker engine answers"
    return EngineError(what, _START_ENGINE)


def _refuse_older(program: str, version: str, lowest: tuple[int, int], address: str) -> None:
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < lowest:
        required = f"{lowest[0]}.{lowest[1]}"
        raise EngineError(f"{program} {found[0]} is too old: stagebake needs {required} or later", f"update: {address}")
