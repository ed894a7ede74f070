"""Make images as files, instead of those of Docker Hub, and read the files that an image holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import zstandard

from tests.support.daemon import find

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Blob = Callable[[str], bytes]
"""Digest to content."""


@dataclass(frozen=True)
class Base:
    """Base image: its name, and the archive that `docker load` reads. The same files give the same digest."""

    name: str
    archive: Path


def make_busybox(name: str, folder: Path, more: Iterable[tuple[tarfile.TarInfo, bytes]] = ()) -> Base:
    """Make an image of busybox, its applets, and more files."""
    path = find("busybox")
    busybox = Path(path).read_bytes()
    members = [
        (_folder("bin"), b""),
        (_folder("tmp", mode=0o1777), b""),
        (_file("bin/busybox", busybox, 0o755), busybox),
        *more,
    ]
    return _make(name, folder, _tar([*members, *((_link(f"bin/{name}", "busybox"), b"") for name in _applets(path))]))


def make_files(name: str, folder: Path, files: Mapping[str, str]) -> Base:
    """Make an image of these files, in which nothing can run."""
    return _make(name, folder, _tar((_file(path, text.encode()), text.encode()) for path, text in files.items()))


def join_archives(bases: Iterable[Base], path: Path) -> Path:
    """Write one archive with all these images: the engine takes longer to answer `docker load` than to load."""
    members: dict[str, bytes] = {}
    entries: list[Any] = []
    for base in bases:
        with tarfile.open(base.archive) as content:
            members |= {member.name: _read(content, member) for member in content if member.isfile()}
        entries += json.loads(members["index.json"])["manifests"]
    members["index.json"] = _json({"schemaVersion": 2, "manifests": entries})
    path.write_bytes(_tar((_file(name, data), data) for name, data in members.items()))
    return path


def _make(name: str, folder: Path, layer: bytes) -> Base:
    """Make an image of one layer (opencontainers/image-spec, image-layout.md)."""
    config = _json(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, packed)],
        }
    )
    entry = _descriptor(_MANIFEST, manifest) | {"annotations": {"io.containerd.image.name": name}}
    members = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
    }
    members |= {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in (config, packed, manifest)}
    archive = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:8]}.tar"
    archive.write_bytes(_tar((_file(path, data), data) for path, data in members.items()))
    return Base(name, archive)


def files_of(manifest: Mapping[str, Any], blob: Blob) -> dict[str, bytes]:
    """Return the regular files of an image by absolute path, its layers laid over each other (image-spec, layer.md)."""
    files: dict[str, bytes] = {}
    for layer in manifest["layers"]:
        with open_layer(blob(layer["digest"])) as archive:
            _lay_over(files, archive)
    return files


def open_layer(content: bytes) -> tarfile.TarFile:
    """Open a layer, compressed with gzip, zstd or not at all."""
    if content.startswith(_ZSTD):
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as stream:
            content = stream.read()
    return tarfile.open(fileobj=io.BytesIO(content))


def saved(archive: Path) -> dict[str, bytes]:
    """Return the files of the one image in an archive of `docker save`."""
    with tarfile.open(archive) as content:

        def blob(digest: str) -> bytes:
            return _read(content, f"blobs/{digest.replace(':', '/')}")

        document = json.loads(_read(content, "index.json"))
        while "layers" not in document:
            document = json.loads(blob(image_of(document)))
        return files_of(document, blob)


def image_of(index: Mapping[str, Any]) -> str:
    """Return the digest of the one image in an index; attestations have no platform."""
    (digest,) = (m["digest"] for m in index["manifests"] if m.get("platform", {}).get("os") != "unknown")
    return str(digest)


def _lay_over(files: dict[str, bytes], archive: tarfile.TarFile) -> None:
    members = archive.getmembers()
    for member in members:
        path = PurePosixPath("/", member.name)
        if path.name == ".wh..wh..opq":
            _remove_below(files, path.parent)
        elif path.name.startswith(".wh."):
            gone = path.with_name(path.name.removeprefix(".wh."))
            files.pop(str(gone), None)
            _remove_below(files, gone)
    for member in members:
        path = PurePosixPath("/", member.name)
        if member.isfile() and not path.name.startswith(".wh."):
            files[str(path)] = _read(archive, member)


def _remove_below(files: dict[str, bytes], folder: PurePosixPath) -> None:
    for path in [path for path in files if folder in PurePosixPath(path).parents]:
        del files[path]


def _read(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, member
    with file:
        return file.read()


def _applets(busybox: str) -> list[str]:
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True)
    return sorted(set(listed.stdout.split()) - {"busybox"})


def _tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _file(path: str, data: bytes, mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    return info


def _folder(path: str, mode: int = 0o755) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info


def _link(path: str, goal: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.linkname = tarfile.SYMTYPE, goal
    return info


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode()
