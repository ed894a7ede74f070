"""Ask buildx for the versions of the BuildKit that builds and of buildx itself."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from stagebake.interrupts import run_later

# Seconds that buildx has to reach its builder; the versions only explain
_ANSWER_SECONDS = 5.0
# docker/buildx, commands/inspect.go: one line for each node of the builder, none for a node that does not run
_BUILDKIT = re.compile(r"^BuildKit version:\s*v?(?P<version>\S+)", re.MULTILINE)
# docker/buildx, commands/version.go: `github.com/docker/buildx v0.36.1 COMMIT`, in Debian without the `v`
_BUILDX = re.compile(r"\sv?(?P<version>\d+\.\d\S*)")


@dataclass(frozen=True)
class Versions:
    """Versions of BuildKit and buildx, such as 0.35.1; "" where unknown.

    A builder with nodes of several versions has all of them in `buildkit`.
    """

    buildkit: str = ""
    buildx: str = ""


def read_versions(builder: str | None = None) -> Versions:
    """Return the versions of buildx and of a builder's BuildKit, None for the current builder; never raise."""
    inspect = ["inspect", builder] if builder else ["inspect"]
    printed = run_later(partial(_run_buildx, ["version"]))
    return Versions(
        buildkit=parse_buildkit_version(_run_buildx(inspect)),
        buildx=parse_buildx_version(printed.result()),
    )


def read_versions_later(builder: str | None = None) -> Future[Versions]:
    """Start `read_versions` in a thread, which an interrupt does not wait for."""
    return run_later(partial(read_versions, builder))


def parse_buildkit_version(inspected: str) -> str:
    """Return the version in the output of `docker buildx inspect`; several different ones in order, with commas."""
    return ", ".join(sorted({found["version"] for found in _BUILDKIT.finditer(inspected)}))


def parse_buildx_version(text: str) -> str:
    """Return the version in the output of `docker buildx version`."""
    found = _BUILDX.search(text)
    return found["version"] if found else ""


def _run_buildx(arguments: list[str]) -> str:
    """Return the output of a command of buildx, "" where it fails."""
    command = ["docker", "buildx", *arguments]
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.decode(errors="replace")
