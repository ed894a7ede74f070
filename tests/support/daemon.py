"""Start a server program for the tests, watch it, and stop it by its own process id."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Debian keeps dockerd, and the programs it needs, outside an ordinary user's PATH
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_PATIENCE = 60.0


def missing(*programs: str) -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in programs if shutil.which(program, path=_PATH) is None]


def find(program: str) -> str:
    """Return the path of a program. Raise FileNotFoundError where it is missing."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise FileNotFoundError(program)
    return found


class Daemon:
    """Running program with its output in a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        self._name = command[0]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [find(command[0]), *command[1:]],
                env={"PATH": _PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # ^C ends the tests, and they end this
            )

    def written_bytes(self) -> int:
        """Return the bytes that the program and its ended children have written to files (proc(5), /proc/pid/io)."""
        lines = Path(f"/proc/{self._process.pid}/io").read_text(encoding="utf-8").splitlines()
        counts = dict(line.split(": ") for line in lines)
        return int(counts["write_bytes"]) - int(counts["cancelled_write_bytes"])

    def text(self) -> str:
        """Return the output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready` returns true. Raise RuntimeError with the log where the program ends or is never ready."""
        end = time.monotonic() + _PATIENCE
        while not ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self._name} did not start:\n{self.text()[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the program, by force where it ignores the signal."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
