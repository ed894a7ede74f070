"""Docker through python-on-whales, and the one streaming call that it cannot make: bake.

python-on-whales has no `--allow`, runs `bake --print` first, and leaves the process alive when its stream is closed.
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
# Seconds that buildx may take to cancel its build, and between two looks at whether something else is to be done
_GRACE = 15.0
_PULSE = 0.2


@dataclass(frozen=True, kw_only=True)
class BakeCall:
    """One `docker buildx bake`: bake files as text in the order in which they are laid over each other."""

    target: str
    files: Mapping[str, str]
    variables: Mapping[str, str]
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BakeResult:
    """How a bake call ended; `digest` is the image's."""

    exit_code: int
    digest: str | None


class BuildEngine(Protocol):
    """Run bake calls; `Engine` is the one that users have, tests may pass another."""

    @property
    def exports_caches(self) -> bool: ...

    def bake(self, call: BakeCall, listen: Callable[[str], None], overdue: Callable[[], bool]) -> BakeResult: ...


class Engine:
    """The Docker engine and buildx builder that builds; paths in bake files are seen from `root`."""

    def __init__(self, root: Path, builder: str | None = None) -> None:
        self.root = root
        self._builder = builder

    @cached_property
    def _docker(self) -> DockerClient:
        """Return the client. It is slow to load, and most verbs need no engine."""
        from python_on_whales import DockerClient

        return DockerClient()

    def check(self) -> None:
        """Raises EngineError, with the command that mends it, where the engine or buildx cannot serve.

        Raises InputError where somebody names a builder that is none.
        """
        from python_on_whales.client_config import ClientNotFoundError
        from python_on_whales.exceptions import DockerException

        try:
            version = self._docker.version()
        except (ClientNotFoundError, DockerException) as error:
            raise _no_engine(error) from None
        server = version.server.version if version.server else None
        if server is None:
            raise EngineError("no Docker engine answers", "start it: sudo systemctl start docker, or Docker Desktop")
        _refuse_older("Docker Engine", server, LOWEST_ENGINE, "https://docs.docker.com/engine/install/")
        try:
            buildx = self._docker.buildx.version()
        except DockerException:
            raise EngineError("docker has no buildx plugin", "install it: https://docs.docker.com/go/buildx/") from None
        _refuse_older("buildx", buildx, LOWEST_BUILDX, "https://docs.docker.com/go/buildx/")
        self._refuse_missing_builder()

    def _refuse_missing_builder(self) -> None:
        from python_on_whales.exceptions import DockerException

        name = self._builder or os.environ.get("BUILDX_BUILDER")
        try:
            if name:
                self._docker.buildx.inspect(name)
        except DockerException:
            origin = "--builder" if self._builder else "BUILDX_BUILDER"
            raise InputError(
                f"{origin}: buildx has no builder `{name}`",
                f"`docker buildx ls` lists them; make one: docker buildx create --name {name}",
            ) from None

    @cached_property
    def exports_caches(self) -> bool:
        """Whether caches can be written: by any builder but a `docker` one without the containerd image store."""
        builder = self._docker.buildx.inspect(self._builder)
        if builder.driver != "docker":
            return True
        status = self._docker.system.info().driver_status or []
        return any("io.containerd.snapshotter" in " ".join(map(str, pair)) for pair in status)

    def bake(self, call: BakeCall, listen: Callable[[str], None], overdue: Callable[[], bool]) -> BakeResult:
        """Runs one bake call and hands each line of its events to `listen`.

        When `listen` or a signal interrupts it, the build is cancelled before this returns. `overdue` is asked after
        each line and several times a second; when it says so the build is cancelled, and has failed.
        """
        with tempfile.TemporaryDirectory(prefix="stagebake-") as folder:
            metadata = Path(folder, "metadata.json")
            command = self._command(call, Path(folder), metadata)
            environment = {**os.environ, **call.variables, "BUILDX_METADATA_PROVENANCE": "disabled"}
            exit_code = _stream(command, self.root, environment, listen, overdue)
            return BakeResult(exit_code=exit_code, digest=_digest(metadata))

    def _command(self, call: BakeCall, folder: Path, metadata: Path) -> list[str]:
        command = ["docker", "buildx", "bake", "--progress=rawjson", f"--metadata-file={metadata}"]
        command += [f"--builder={self._builder}"] if self._builder else []
        for name, text in call.files.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            command.append(f"--file={path}")
        return [*command, *(f"--allow={right}" for right in call.allow), call.target]


def _stream(
    command: list[str],
    root: Path,
    environment: Mapping[str, str],
    listen: Callable[[str], None],
    overdue: Callable[[], bool],
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
        start_new_session=True,  # ^C of the terminal reaches us alone; we pass it on once
    )
    try:
        for line in _lines(process):
            if line:
                listen(line)
            if overdue():
                _end(process)
        return process.wait()
    finally:
        _end(process)


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the process says, line by line, and an empty line whenever it has said nothing for a moment.

    Another thread reads: a signal that comes just before a read that blocks is heard by nobody until that returns.
    """
    lines: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_read, args=(process, lines.put), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_PULSE)
        except Empty:
            line = ""
        if line is None:
            return
        yield line


def _read(process: subprocess.Popen[str], put: Callable[[str | None], None]) -> None:
    """Hands on what the process says, and None at the end."""
    try:
        with process.stderr or nullcontext(()) as said:
            for line in said:
                put(line)
    finally:
        put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """Lets buildx cancel its build, and ends it by force where it does not. Older docker hands no signal on to it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _digest(metadata: Path) -> str | None:
    try:
        targets = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = [value.get("containerimage.digest") for value in targets.values() if isinstance(value, dict)]
    return next((digest for digest in found if digest), None)


def _no_engine(error: Exception) -> EngineError:
    from python_on_whales.client_config import ClientNotFoundError

    if isinstance(error, ClientNotFoundError):
        return EngineError("no `docker` on PATH", "install Docker Engine: https://docs.docker.com/engine/install/")
    said = re.search(r"Cannot connect to the Docker daemon at \S+", str(error))
    return EngineError(
        said[0].rstrip(".") if said else "no Docker engine answers",
        "start it: sudo systemctl start docker, or Docker Desktop",
    )


def _refuse_older(what: str, version: str, lowest: tuple[int, int], where: str) -> None:
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < lowest:
        raise EngineError(f"{what} {found[0]} is too old: {lowest[0]}.{lowest[1]} is the lowest", f"update it: {where}")
