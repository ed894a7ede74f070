"""Define the interface of a place that stores caches.

`Registry`, `OciLayout` and `GithubCache` in the package `stores` satisfy `CacheRepository`, and `stores.choose` picks
one of them. `Registry` and `GithubPackages` satisfy `VersionStore`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from stagebake.cache.manifest import ManifestAndConfig
from stagebake.errors import RegistryError

# Answer for each key: the value, None for a missing one, or the error of a failed request
ContentAnswers = dict[str, bytes | RegistryError | None]
SizeAnswers = dict[str, int | RegistryError | None]

# Size of a blob that exists, where the store does not report how large it is
SIZE_UNKNOWN = -1


class CacheRepository(Protocol):
    """Repository of one image's caches. `image` is its name in messages.

    Methods raise RegistryError; those that take several keys return the error of each failed request instead.
    """

    image: str

    def import_source(self, digest: str, tag: str | None) -> str:
        """Return the value of the bake variable CACHE that imports the cache with this digest or tag."""

    def read_manifest(self, reference: str) -> bytes | None:
        """Return the manifest of a tag or digest; None where it is missing."""

    def read_manifests(self, references: Iterable[str]) -> ContentAnswers:
        """Return the manifests of tags or digests."""

    def read_blobs(self, digests: Iterable[str]) -> ContentAnswers:
        """Return the contents of blobs."""

    def read_blob_sizes(self, digests: Iterable[str]) -> SizeAnswers:
        """Return the sizes of blobs in bytes; SIZE_UNKNOWN for an existing blob of unknown size."""

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Save a config and its manifest under a tag or, without one, under the digest. Return the manifest's digest.

        The digest differs from `document.digest` where the store had to write the config in another spelling.
        """

    def remove_unused_blobs(self) -> None:
        """Delete blobs that no tag needs, where the store does not do so on its own."""


@dataclass(frozen=True, kw_only=True)
class TaggedVersion:
    """Content that a registry stores under one digest, with every tag that names it.

    `key` identifies the version in the store that lists it.
    """

    key: str
    tags: frozenset[str]


class VersionStore(Protocol):
    """Store whose versions can be listed and deleted. Methods raise RegistryError."""

    def list_versions(self) -> Iterable[TaggedVersion]:
        """Return every version with its tags."""

    def delete_version(self, version: TaggedVersion) -> str | None:
        """Delete a version and all its tags. Return the reason where the store keeps it, else None."""
