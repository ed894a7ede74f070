"""Store caches in a directory: an OCI image layout (opencontainers/image-spec, image-layout.md).

BuildKit's `type=local` reads and writes such a directory, with several caches in it by tag.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stagebake.cache.backends import ContentAnswers, SizeAnswers
from stagebake.cache.manifest import (
    MANIFEST_TYPE,
    InvalidCache,
    ManifestAndConfig,
    config_digest,
    layer_sizes,
    sha256_digest,
)
from stagebake.errors import CorruptBlob, RegistryError
from stagebake.files import write_file
from stagebake.http.client import fetch_all

_TAG = "org.opencontainers.image.ref.name"
_LOCK_SECONDS = 10.0

# Age at which an unused blob is deleted: a younger one may belong to a build that is running
_GRACE_SECONDS = 3600.0


class OciLayout:
    """Caches in `folder`; satisfies CacheRepository. Methods raise RegistryError."""

    def __init__(self, folder: Path) -> None:
        self.image = str(folder)
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"

    def import_source(self, digest: str, tag: str | None) -> str:
        """Return the value of the bake variable CACHE: the digest, which no other build changes."""
        return f"digest={digest}"

    def read_manifest(self, reference: str) -> bytes | None:
        """Return the manifest of a tag or digest; None where it is missing."""
        digest: str | None = reference
        if not reference.startswith("sha256:"):
            digest = self._read_tags().get(reference)
        return self._read_blob(digest) if digest else None

    def read_manifests(self, references: Iterable[str]) -> ContentAnswers:
        """Return the manifests of tags or digests."""
        return fetch_all(self.read_manifest, references)

    def read_blobs(self, digests: Iterable[str]) -> ContentAnswers:
        """Return the contents of blobs."""
        return fetch_all(self._read_blob, digests)

    def read_blob_sizes(self, digests: Iterable[str]) -> SizeAnswers:
        """Return the sizes of blobs in bytes."""
        return fetch_all(self._read_blob_size, digests)

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Write a cache's config and manifest, and set the tag. Return the manifest's digest."""
        try:
            self._write_blob(sha256_digest(document.config), document.config)
            self._write_blob(document.digest, document.manifest)
            if tag:
                with self._lock_index():
                    self._write_tag(tag, document)
        except OSError as error:
            raise self._explain_error(error) from None
        return document.digest

    def remove_unused_blobs(self) -> None:
        """Delete blobs that no tag needs and the remains of interrupted exports, where they are an hour old."""
        try:
            needed: set[str] = set()
            for digest in self._read_tags().values():
                needed |= self._list_needed(digest)
            unused = [path for path in self._blobs.glob("*") if f"sha256:{path.name}" not in needed]
            unused += [path for path in self._folder.glob("ingest/*/*") if path.is_file()]
            for path in unused:
                _delete_old(path)
        except OSError as error:
            raise self._explain_error(error) from None

    def _list_needed(self, digest: str) -> set[str]:
        """Return the digests of a manifest, its config and its layers."""
        manifest = self._read_blob(digest) or b"{}"
        needed = {digest}
        with suppress(InvalidCache):
            needed |= layer_sizes(manifest).keys()
            needed.add(config_digest(manifest))
        return needed

    def _read_tags(self) -> dict[str, str]:
        """Return the digest of each tag."""
        digests: dict[str, str] = {}
        for entry in self._read_index()["manifests"]:
            tag = _tag_of(entry)
            if tag:
                digests[tag] = entry["digest"]
        return digests

    def _read_index(self) -> dict[str, Any]:
        """Return index.json; an empty index where the file is missing or empty."""
        empty: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
        path = self._folder / "index.json"
        try:
            document = json.loads(path.read_bytes() or b"null") or empty
        except FileNotFoundError:
            return empty
        except OSError as error:
            raise self._explain_error(error) from None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("manifests", []), list):
            raise RegistryError(f"{path}: not an OCI index", f"run: rm -r {self._folder}")
        return empty | document

    def _write_tag(self, tag: str, document: ManifestAndConfig) -> None:
        index = self._read_index()
        entry = {
            "mediaType": MANIFEST_TYPE,
            "digest": document.digest,
            "size": len(document.manifest),
            "annotations": {_TAG: tag},
        }
        others = [other for other in index["manifests"] if _tag_of(other) != tag]
        index["manifests"] = [*others, entry]
        write_file(self._folder / "oci-layout", '{"imageLayoutVersion":"1.0.0"}')
        write_file(self._folder / "index.json", json.dumps(index))

    @contextmanager
    def _lock_index(self) -> Iterator[None]:
        """Hold the lock under which BuildKit changes index.json (client/ociindex/ociindex.go)."""
        end = time.monotonic() + _LOCK_SECONDS
        with (self._folder / "index.json.lock").open("wb") as lock:
            while not _try_lock(lock):
                if time.monotonic() > end:
                    raise BlockingIOError("locked by another process")
                time.sleep(0.05)
            yield

    def _read_blob(self, digest: str) -> bytes | None:
        path = self._blob_path(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explain_error(error) from None
        if sha256_digest(content) != digest:
            raise CorruptBlob(f"{path}: blob holds other bytes", "see docs/troubleshooting.md")
        return content

    def _read_blob_size(self, digest: str) -> int | None:
        try:
            return self._blob_path(digest).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explain_error(error) from None

    def _write_blob(self, digest: str, content: bytes) -> None:
        path = self._blob_path(digest)
        if not path.is_file() or path.read_bytes() != content:
            write_file(path, content)

    def _blob_path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        if not (name.isalnum() and name.isascii()):
            raise RegistryError(f"{self._folder}: digest {digest!r} is not valid", "see docs/troubleshooting.md")
        return self._blobs / name

    def _explain_error(self, error: OSError) -> RegistryError:
        return RegistryError(
            f"{self._folder}: {error.strerror or error}", "check that you may read and write this directory"
        )


def _tag_of(entry: Any) -> str | None:
    """Return the tag of an entry of the index; None for an entry without tag or digest."""
    if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
        return None
    annotations = entry.get("annotations")
    tag = annotations.get(_TAG) if isinstance(annotations, dict) else None
    return tag if isinstance(tag, str) else None


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _delete_old(path: Path) -> None:
    """Delete a file that is older than the grace period; another process may delete it first."""
    with suppress(FileNotFoundError):
        if path.stat().st_mtime < time.time() - _GRACE_SECONDS:
            path.unlink()
