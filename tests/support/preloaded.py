"""Run stagebake without loading it each time, which takes as long as a small build."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO

from tests.support.daemon import Daemon

_SERVER = Path(__file__).with_name("preloaded_server.py")
_LONGEST_RUN = 900


class PreloadedStagebake:
    """Process that has loaded stagebake and forks one more for each run, with its socket in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "stagebake.sock"
        command = ["env", "LANG=C.UTF-8", sys.executable, "-P", str(_SERVER), str(self._socket)]
        self._daemon = Daemon(command, folder / "stagebake.log")
        self._daemon.wait_until(self._socket.exists)

    def run(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> CompletedProcess[str]:
        """Run `stagebake ARGUMENTS` in `folder` with `environment` and no other variables."""
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.settimeout(_LONGEST_RUN)
                client.connect(str(self._socket))
                socket.send_fds(client, [request], [stdout.fileno(), stderr.fileno()])
                exit_code = int(client.recv(16))
            return CompletedProcess(arguments, exit_code, _read_text(stdout), _read_text(stderr))

    def stop(self) -> None:
        """End the process that forks."""
        self._daemon.stop()


def _read_text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")
