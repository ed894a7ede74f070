"""Serve an index of Python packages and a registry of npm packages, and note what is fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from http.server import ThreadingHTTPServer
from typing import Any

from tests.support.canary import CheckedHandler

_BYTES = 50_000


class Shop:
    """Server of the package `NAME` 1.0 of any name at `url`; `fetched` are the archives that were sent."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.asked: list[str] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def lock(self, names: list[str]) -> dict[str, str]:
        """Return package.json and package-lock.json of a project that has these npm packages."""
        wanted = dict.fromkeys(names, "1.0.0")
        entries = {f"node_modules/{name}": self._entry(name) for name in names}
        lock = {
            "name": "app",
            "lockfileVersion": 3,
            "packages": {"": {"name": "app", "dependencies": wanted}, **entries},
        }
        return {
            "package.json": json.dumps({"name": "app", "dependencies": wanted}),
            "package-lock.json": json.dumps(lock),
        }

    def answer(self, path: str) -> bytes | None:
        """Return the content at a path: a page of the index, or an archive."""
        self.asked.append(path)
        name = path.strip("/").split("/")[-1]
        if path.startswith("/simple/"):
            return f'<a href="/wheels/{name}-1.0-py3-none-any.whl">{name}</a>'.encode()
        if not path.startswith(("/wheels/", "/npm/")):
            return None
        self.fetched.append(name)
        return _wheel(name.partition("-")[0]) if name.endswith(".whl") else _tarball(name.partition("-")[0])

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _entry(self, name: str) -> dict[str, str]:
        digest = base64.b64encode(hashlib.sha512(_tarball(name)).digest()).decode()
        return {"version": "1.0.0", "resolved": f"{self.url}/npm/{name}-1.0.0.tgz", "integrity": f"sha512-{digest}"}


class _Server(ThreadingHTTPServer):
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(CheckedHandler):
    server: _Server

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        body = self.server.shop.answer(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header(
            "Content-Type", "text/html" if self.path.startswith("/simple/") else "application/octet-stream"
        )
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("Cache-Control", "max-age=365000000, immutable")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; what is fetched is kept."""


def _wheel(name: str) -> bytes:
    """Make the smallest wheel that pip accepts (packaging.python.org, binary distribution format), with some bytes."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{name}.bin": _filling(name),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


def _tarball(name: str) -> bytes:
    """Make an npm package as `npm pack` does."""
    files = {"package.json": json.dumps({"name": name, "version": "1.0.0"}), "filling": _filling(name)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size, info.mode = len(text), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _filling(name: str) -> str:
    """Return text that does not compress well, the same for the same name."""
    return hashlib.shake_256(name.encode()).hexdigest(_BYTES)
