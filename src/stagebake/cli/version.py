"""Print the version of stagebake, and those of the programs that it works with."""

from __future__ import annotations

import argparse
import platform
import subprocess
from importlib.metadata import version

from stagebake.buildkit.versions import read_versions

_UNKNOWN = "no answer"
_ANSWER_SECONDS = 10


def add_version_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--version`, and `--verbose` for the versions of Python, Docker, buildx and BuildKit."""
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--verbose", action="store_true", help="with --version: also those of Docker and BuildKit")


def print_versions(options: argparse.Namespace) -> int:
    """Print the versions, one in each line; return 0."""
    print(f"stagebake {version('stagebake')}")
    if options.verbose:
        builder = read_versions()
        print(f"Python {platform.python_version()}")
        print(f"Docker client {_ask_docker('Client')}")
        print(f"Docker Engine {_ask_docker('Server')}")
        print(f"buildx {builder.buildx or _UNKNOWN}")
        print(f"BuildKit {builder.buildkit or _UNKNOWN}")
    return 0


def _ask_docker(side: str) -> str:
    """Return the version of docker's client or server."""
    command = ["docker", "version", f"--format={{{{.{side}.Version}}}}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return _UNKNOWN
    return answer.stdout.strip() or _UNKNOWN
