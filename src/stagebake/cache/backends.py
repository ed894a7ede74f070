"""Define what a cache back end is: its attributes in a bake file, and the interface of the store behind it. Pure.

The tags are the same in all of them: `cache-STAGE` for a stage, `cache` for the merged cache. They are tags of the
image's repository in a registry, tags of an OCI image layout in a directory, and scopes in GitHub's cache service.
`Registry`, `OciLayout` and `GithubCache` in the package `stores` satisfy `CacheRepository`, and `stores.choose` picks
one of them. `Registry` and `GithubPackages` satisfy `VersionStore`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from stagebake.cache.manifest import ManifestAndConfig
from stagebake.errors import RegistryError

# `mode=max` saves every step, so that a stage's cache is complete. `image-manifest=true` writes an ordinary image
# manifest, which every registry accepts and which can be merged.
_EXPORT = "mode=max,image-manifest=true,oci-mediatypes=true"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Templates for the attributes of a bake file.

    `reads` is the cache-from that imports the cache in the variable CACHE, `merged_ref` the default of CACHE. `goal` is
    the cache-to without the tag, `options` what follows the tag. With `in_folder`, the bake file has the variables
    FOLDER and HOME. `compresses` tells whether the cache-to takes a compression.
    """

    reads: str
    merged_ref: str
    goal: str
    options: str = _EXPORT
    in_folder: bool = False
    compresses: bool = True

    def export_attribute(self, tag: str) -> str:
        """Return the cache-to that saves a cache under this tag."""
        return f"{self.goal}{tag},{self.options}"


BACKENDS = {
    "registry": Backend(
        reads="type=registry,ref=${CACHE}",
        merged_ref="${IMAGE}:cache${SCOPE}",
        goal="type=registry,ref=${IMAGE}:",
    ),
    "local": Backend(
        reads="type=local,src=${FOLDER}/${IMAGE},${CACHE}",
        merged_ref="tag=cache${SCOPE}",
        goal="type=local,dest=${FOLDER}/${IMAGE},tag=",
        in_folder=True,
    ),
    "gha": Backend(
        reads="type=gha,scope=${CACHE}",
        merged_ref="${IMAGE}:cache${SCOPE}",
        goal="type=gha,scope=${IMAGE}:",
        options="mode=max",
        compresses=False,
    ),
}

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

    `key` identifies the version in the store that lists it. `touched` is when it was pushed or tagged last, in seconds
    since 1970, None where the store does not tell.
    """

    key: str
    tags: frozenset[str]
    digest: str = ""
    touched: float | None = None


class VersionStore(Protocol):
    """Store whose versions can be listed and deleted. Methods raise RegistryError."""

    @property
    def lists_untagged(self) -> bool:
        """Tell whether `list_versions` returns versions without tags too."""

    def list_versions(self) -> Iterable[TaggedVersion]:
        """Return every version with its tags."""

    def delete_version(self, version: TaggedVersion) -> str | None:
        """Delete a version and all its tags. Return the reason where the store keeps it, else None."""
