"""Run GitHub's cache service as nektos/act implements it."""

from __future__ import annotations

import base64
import json
import socket
import sys
import time
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.proxy import Proxy

_WORKFLOW = """\
on: push
jobs:
  wait:
    runs-on: ubuntu-24.04
    steps:
      - run: |
          echo "$ACTIONS_CACHE_URL" > "$HOME/url"
          while kill -0 "$PPID"; do sleep 0.2; done
"""
_READ, _WRITE = 1, 3


class CacheService:
    """Version 1 of the service. act runs it as long as one of its jobs runs, so one job waits.

    Clients reach it through `proxy`, which counts.
    """

    def __init__(self, folder: Path) -> None:
        self.entries = folder / "entries"
        workflow = folder / ".github/workflows/wait.yml"
        workflow.parent.mkdir(parents=True)
        workflow.write_text(_WORKFLOW, encoding="utf-8")
        port = _free_port()
        self.proxy = Proxy(port)
        command = [
            *("env", f"HOME={folder}", str(Path(sys.executable).parent / "act"), "push", f"--directory={folder}"),
            *("--platform=ubuntu-24.04=-self-hosted", "--pull=false", f"--cache-server-path={self.entries}"),
            *("--cache-server-addr=127.0.0.1", f"--cache-server-port={port}"),
            f"--cache-server-external-url=http://127.0.0.1:{self.proxy.port}",
        ]
        self._url = folder / "url"
        self._daemon = Daemon(command, folder / "act.log")
        self._daemon.wait_until(lambda: self._url.is_file() and self._url.read_text().endswith("\n"))

    def environment(self, ref: str, *more: str) -> dict[str, str]:
        """Return the variables of a run for this git ref; it may read what runs for `more` have written."""
        return {"ACTIONS_CACHE_URL": self._url.read_text().strip(), "ACTIONS_RUNTIME_TOKEN": token(ref, *more)}

    def stop(self) -> None:
        self.proxy.stop()
        self._daemon.stop()


def token(ref: str, *more: str) -> str:
    """Return a token as GitHub's runner has it, without a signature: neither BuildKit nor act checks it."""
    scopes = [{"Scope": ref, "Permission": _WRITE}, *({"Scope": other, "Permission": _READ} for other in more)]
    now = int(time.time())
    claims = {"ac": json.dumps(scopes), "nbf": now - 60, "exp": now + 6 * 3600}
    return ".".join((_base64({"alg": "none"}), _base64(claims), ""))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _base64(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")
