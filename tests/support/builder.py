"""Make a builder of the driver `docker-container` without the image moby/buildkit.

buildx starts a container and talks to BuildKit through a program in it, `buildctl dial-stdio`. Here that program passes
the connection on to the BuildKit in another engine (its API's /grpc: moby/moby, api/server/router/grpc).
"""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.engine import Engine

_IMAGE = "stagebake-test/buildkit:1"
_BUILDKITD = """\
#!/bin/sh
[ "$1" != --version ] || { echo "buildkitd github.com/moby/buildkit v0.25.0 engine"; exit; }
trap exit TERM
sleep 86400 & wait
"""
# The engine drops what arrives before its answer, so nothing is sent until its headers are read
_BUILDCTL = """\
#!/bin/sh
[ "$1" = dial-stdio ] || exit 0
go=/tmp/go.$$ cr=$(printf '\\r')
mkfifo $go
{{
    printf 'POST /grpc HTTP/1.1\\r\\nHost: engine\\r\\nConnection: Upgrade\\r\\nUpgrade: h2c\\r\\n\\r\\n'
    read -r _ <$go
    exec cat
}} | nc 127.0.0.1 {port} | {{
    while IFS= read -r line && [ "$line" != "$cr" ]; do :; done
    echo >$go
    exec cat
}}
"""
_DOCKERFILE = """\
FROM {base}
COPY --chmod=755 buildkitd buildctl /bin/
ENTRYPOINT ["buildkitd"]
"""


class Builder:
    """Builder that `engine` knows, from its image `base`; its BuildKit is empty and runs in another engine."""

    def __init__(self, name: str, engine: Engine, folder: Path, base: str) -> None:
        self.name = name
        self._engine = engine
        self._folder = folder
        port = _free_port()
        self._behind = Engine(folder / "behind", folder, (), (f"--host=tcp://127.0.0.1:{port}", "--tls=false"))
        try:
            self._make(base, port)
        except BaseException:
            self.stop()
            raise

    def _make(self, base: str, port: int) -> None:
        image = self._folder / "buildkit"
        image.mkdir()
        (image / "buildkitd").write_text(_BUILDKITD, encoding="utf-8")
        (image / "buildctl").write_text(_BUILDCTL.format(port=port), encoding="utf-8")
        (image / "Dockerfile").write_text(_DOCKERFILE.format(base=base), encoding="utf-8")
        self._engine.docker("build", "--quiet", "--builder=default", f"--tag={_IMAGE}", str(image))
        self._engine.docker(
            "buildx", "create", f"--name={self.name}", "--driver=docker-container", "--bootstrap",
            f"--driver-opt=image={_IMAGE}", "--driver-opt=network=host",
        )  # fmt: skip

    def empty(self) -> None:
        """Replace the BuildKit by an empty one."""
        self._behind.empty()

    def stop(self) -> None:
        self._engine.run("docker", "buildx", "rm", "--force", self.name, folder=self._folder)
        self._behind.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
