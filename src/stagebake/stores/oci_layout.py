"""Caches in a directory: an OCI image layout (opencontainers/image-spec, image-layout.md).

BuildKit's `type=local` reads and writes such a directory, with several caches in it by tag.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stagebake.cache.manifest import (
    MANIFEST_TYPE,
    InvalidCache,
    ManifestAndConfig,
    config_digest,
    layer_sizes,
    sha256_digest,
)
from stagebake.errors import RegistryError, Spoiled
from stagebake.files import write_file
from stagebake.stores.http import fetch_all

_TAG = "org.opencontainers.image.ref.name"
_LOCK_SECONDS = 10.0

# What nothing names may be of a build that is under way
_GRACE_SECONDS = 3600.0


class OciLayout:
    """The caches in `folder`, with the interface of a registry's repository. Raises RegistryError."""

    def __init__(self, folder: Path) -> None:
        self.image = str(folder)
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"

    def import_source(self, digest: str, _tag: str | None) -> str:
        """What the variable CACHE of a bake file says to read the cache with this digest."""
        return f"digest={digest}"

    def read_manifests(self, references: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        """The manifests of tags or digests; None for what is not there, the error for what failed."""
        return fetch_all(self.read_manifest, references)

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        """The contents of blobs; None for what is not there, the error for what failed."""
        return fetch_all(self._blob, digests)

    def read_blob_sizes(self, digests: Iterable[str]) -> dict[str, int | RegistryError | None]:
        """The sizes of blobs in bytes; None for what is not there, the error for what failed."""
        return fetch_all(self._size, digests)

    def read_manifest(self, reference: str) -> bytes | None:
        """The manifest of a tag or digest, None where there is none."""
        digest = reference if reference.startswith("sha256:") else self._tags().get(reference)
        return self._blob(digest) if digest else None

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Writes a cache's config and manifest, and gives it the tag. Returns the manifest's digest."""
        try:
            self._write(sha256_digest(document.config), document.config)
            self._write(document.digest, document.manifest)
            if tag:
                with self._locked():
                    self._write_index(document, tag)
        except OSError as error:
            raise self._failed(error) from None
        return document.digest

    def remove_unused_blobs(self) -> None:
        """Removes the blobs that no tag leads to, and what an export that was cut short has left."""
        try:
            wanted = {name for digest in self._tags().values() for name in self._names(digest)}
            leftovers = [path for path in self._blobs.glob("*") if f"sha256:{path.name}" not in wanted]
            leftovers += [path for path in self._folder.glob("ingest/*/*") if path.is_file()]
            for path in leftovers:
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < time.time() - _GRACE_SECONDS:
                        path.unlink()
        except OSError as error:
            raise self._failed(error) from None

    def _names(self, digest: str) -> set[str]:
        """The blobs that a manifest leads to, its own among them."""
        manifest = self._blob(digest) or b"{}"
        names = {digest}
        with suppress(InvalidCache):
            names |= layer_sizes(manifest).keys()
            names.add(config_digest(manifest))
        return names

    def _tags(self) -> dict[str, str]:
        """Tag to digest."""
        return {tag: entry["digest"] for entry in self._index()["manifests"] if (tag := _tag_of(entry))}

    def _index(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
        try:
            document = json.loads((self._folder / "index.json").read_bytes() or b"null") or empty
        except FileNotFoundError:
            return empty
        except OSError as error:
            raise self._failed(error) from None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("manifests", []), list):
            raise RegistryError(f"{self._folder}/index.json holds no index", f"run: rm -r {self._folder}")
        return empty | document

    def _write_index(self, document: ManifestAndConfig, tag: str) -> None:
        index = self._index()
        entry = {
            "mediaType": MANIFEST_TYPE,
            "digest": document.digest,
            "size": len(document.manifest),
            "annotations": {_TAG: tag},
        }
        others = [other for other in index["manifests"] if _tag_of(other) != tag]
        write_file(self._folder / "oci-layout", '{"imageLayoutVersion":"1.0.0"}')
        write_file(self._folder / "index.json", json.dumps(index | {"manifests": [*others, entry]}))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock under which BuildKit changes index.json (client/ociindex/ociindex.go)."""
        end = time.monotonic() + _LOCK_SECONDS
        with (self._folder / "index.json.lock").open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)
            yield

    def _blob(self, digest: str) -> bytes | None:
        try:
            content = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None
        if sha256_digest(content) != digest:
            raise Spoiled(f"{self._path(digest)} holds other bytes", "see docs/troubleshooting.md")
        return content

    def _size(self, digest: str) -> int | None:
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None

    def _write(self, digest: str, content: bytes) -> None:
        path = self._path(digest)
        if not path.is_file() or path.read_bytes() != content:
            write_file(path, content)

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        if not (name.isalnum() and name.isascii()):
            raise RegistryError(f"{self._folder}: {digest!r} is no digest", "see docs/troubleshooting.md")
        return self._blobs / name

    def _failed(self, error: OSError) -> RegistryError:
        return RegistryError(f"{self._folder}: {error.strerror or error}", "can it be read and written?")


def _tag_of(entry: Any) -> str | None:
    """The tag of an entry of the index; None where it has none, or names nothing."""
    notes = entry.get("annotations") if isinstance(entry, dict) and isinstance(entry.get("digest"), str) else None
    tag = notes.get(_TAG) if isinstance(notes, dict) else None
    return tag if isinstance(tag, str) else None
