"""Run a registry for the tests, behind a proxy that counts."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import archive
from tests.support.canary import canary_login
from tests.support.daemon import Daemon
from tests.support.proxy import Proxy

_CONFIG = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


class Registry:
    """Registry (docker-registry) with its data in `folder`; clients reach it at `host`, through `proxy`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "registry.yml").write_text(_CONFIG.format(folder=folder), encoding="utf-8")
        self._daemon = Daemon(["docker-registry", "serve", f"{folder}/registry.yml"], folder / "registry.log")
        self._daemon.wait_until(lambda: bool(_LISTENING.search(self._daemon.text())))
        self._port = int(_LISTENING.findall(self._daemon.text())[0])
        self.storage = Proxy(self._port)
        self.proxy = Proxy(self._port, self.storage.port)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"

    @contextlib.contextmanager
    def require_login(self, *, moves_uploads: bool = False) -> Iterator[Registry]:
        """Yield the same registry at another host, which requires the canary login of that host."""
        registry = copy.copy(self)
        registry.proxy = Proxy(self._port, self.storage.port, moves_uploads=moves_uploads)
        registry.proxy.login = canary_login(registry.host)
        try:
            yield registry
        finally:
            registry.proxy.stop()

    def tags(self, name: str) -> set[str]:
        """Return the tags of a repository; none where the repository is missing."""
        try:
            return set(json.loads(self.get(f"{name}/tags/list"))["tags"] or ())
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            return set()

    def read_manifest(self, name: str, reference: str) -> dict[str, Any]:
        """Return a manifest or index by tag or digest."""
        document: dict[str, Any] = json.loads(self.get(f"{name}/manifests/{reference}"))
        return document

    def image_manifest(self, name: str, reference: str) -> dict[str, Any]:
        """Return the manifest of an image; for an index, of the one image in it."""
        document = self.read_manifest(name, reference)
        return self.read_manifest(name, archive.image_of(document)) if "manifests" in document else document

    def files(self, name: str, reference: str) -> dict[str, bytes]:
        """Return the files of an image, read without an engine."""
        return archive.files_of(self.image_manifest(name, reference), lambda digest: self.get(f"{name}/blobs/{digest}"))

    def get(self, path: str) -> bytes:
        """Read from the registry itself; this is not counted."""
        url = f"http://127.0.0.1:{self._port}/v2/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": _ACCEPT})) as answer:
            content: bytes = answer.read()
        return content

    def config(self, name: str, reference: str) -> dict[str, Any]:
        """Return the config of an image: its labels, environment, history."""
        digest = self.image_manifest(name, reference)["config"]["digest"]
        config: dict[str, Any] = json.loads(self.get(f"{name}/blobs/{digest}"))
        return config

    def copy(self, name: str, new_name: str) -> None:
        """Give a repository of the registry another name too; both have the same blobs."""
        shutil.copytree(self._repository(name), self._repository(new_name))

    def digest(self, name: str, tag: str) -> str:
        """Return the digest of a tag."""
        link = self._repository(name) / "_manifests/tags" / tag / "current/link"
        return link.read_text(encoding="utf-8").strip()

    def untag(self, name: str, tag: str) -> None:
        """Remove a tag."""
        shutil.rmtree(self._repository(name) / "_manifests/tags" / tag)

    def revisions(self, name: str) -> dict[str, float]:
        """Return when each manifest was pushed last, in seconds since 1970, also of those without a tag."""
        links = (self._repository(name) / "_manifests/revisions").glob("*/*/link")
        return {f"{link.parent.parent.name}:{link.parent.name}": link.stat().st_mtime for link in links}

    def dangle(self, name: str, tag: str) -> None:
        """Remove the manifest that a tag names from the repository; the tag stays."""
        kind, _, value = self.digest(name, tag).partition(":")
        shutil.rmtree(self._repository(name) / "_manifests/revisions" / kind / value)

    def blob(self, digest: str) -> Path:
        """Return the file in which the registry keeps a blob."""
        kind, _, value = digest.partition(":")
        return self._folder / f"registry/docker/registry/v2/blobs/{kind}/{value[:2]}/{value}/data"

    def stop(self) -> None:
        self.proxy.stop()
        self.storage.stop()
        self._daemon.stop()

    def _repository(self, name: str) -> Path:
        return self._folder / "registry/docker/registry/v2/repositories" / name
