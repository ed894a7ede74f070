"""Break what the registry stores, and requests on their way to it."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.support import archive
from tests.support.project import Project
from tests.support.proxy import Fault

STAGEBAKE = "stagebake"
BUILDKIT = "buildkit"

Pattern = Callable[[str, str], bool]
"""Method and path to whether a request is meant."""


class Broken:
    """Blobs that were broken on the registry's disk, and are repaired at the end, because other tests share them."""

    def __init__(self) -> None:
        self._good: dict[Path, bytes] = {}

    def make(self, path: Path, how: str) -> None:
        """Break a blob: `gone`, `empty`, `short` or `flipped`."""
        data = self._good.setdefault(path, path.read_bytes())
        if how == "gone":
            path.unlink()
        elif how == "empty":
            path.write_bytes(b"")
        elif how == "short":
            path.write_bytes(data[:-1])
        else:
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])

    def mend(self) -> None:
        for path, data in self._good.items():
            path.write_bytes(data)


class Rule:
    """Fault for the matching requests: for the first `times` of them, after `spared` that succeed."""

    def __init__(self, meant: Pattern, fault: Fault, *, times: int | None = None, spared: int = 0) -> None:
        self._meant = meant
        self._fault = fault
        self._window = range(spared, spared + times) if times is not None else range(spared, 1 << 30)
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self, method: str, path: str) -> Fault | None:
        if not self._meant(method, path):
            return None
        with self._lock:
            self.count += 1
            return self._fault if self.count - 1 in self._window else None


def blob_of(project: Project, stage: str) -> str:
    """Return the layer that holds the stage's value."""
    manifest = project.registry.read_manifest(project.name, f"cache-{stage}")
    for layer in manifest["layers"]:
        content = project.registry.get(f"{project.name}/blobs/{layer['digest']}")
        with archive.open_layer(content) as members:
            if f"{stage}.txt" in members.getnames():
                return str(layer["digest"])
    raise AssertionError(f"no layer of {stage} holds its value")


def unsound(project: Project) -> set[str]:
    """Return the blobs of the image and of each cache that are missing or hold other bytes."""
    return {
        f"{tag}: {digest}"
        for tag in project.tags()
        for digest in _digests(project, tag)
        if not _is_sound(project, digest)
    }


def put_manifest(project: Project, tag: str, document: object, kind: str) -> None:
    """Push any manifest under a tag."""
    request = urllib.request.Request(
        f"http://{project.registry.host}/v2/{project.name}/manifests/{tag}",
        data=json.dumps(document).encode(),
        method="PUT",
        headers={"Content-Type": kind},
    )
    with urllib.request.urlopen(request):
        pass


def put_blob(project: Project, content: bytes) -> str:
    """Push a blob; return its digest."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    root = f"http://{project.registry.host}"
    start = urllib.request.Request(f"{root}/v2/{project.name}/blobs/uploads/", data=b"", method="POST")
    with urllib.request.urlopen(start) as answer:
        where = answer.headers["Location"]
    where = where if where.startswith("http") else root + where
    joint = "&" if "?" in where else "?"
    end = urllib.request.Request(f"{where}{joint}digest={digest}", data=content, method="PUT")
    end.add_header("Content-Type", "application/octet-stream")  # the registry would parse a form
    with urllib.request.urlopen(end):
        pass
    return digest


def _digests(project: Project, tag: str) -> list[str]:
    document = project.registry.read_manifest(project.name, tag)
    if "manifests" in document:
        return [d for entry in document["manifests"] for d in (entry["digest"], *_digests(project, entry["digest"]))]
    return [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]


def _is_sound(project: Project, digest: str) -> bool:
    path = project.registry.blob(digest)
    return path.exists() and f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == digest
