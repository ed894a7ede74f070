"""Represent what an image's repository holds: manifests with their kind, tags, blobs, and what is below them. Pure.

The kinds follow from media types (opencontainers/image-spec, media-types.md), never from tags: anybody may give an
image the tag `cache-base`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from stagebake.cache.backends import TaggedVersion
from stagebake.cache.manifest import CONFIG_TYPE, LEDGER_TYPE, MOUNT_ANNOTATION, InvalidCache, parse_json_object

_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


class Kind(Enum):
    """Content of a manifest."""

    CACHE = "cache"
    LEDGER = "ledger"
    MOUNT = "mount"
    IMAGE = "image"
    INDEX = "index"
    UNKNOWN = "unknown"


# Kinds that only stagebake or BuildKit's cache export writes, and that no image needs
OWN_KINDS = frozenset({Kind.CACHE, Kind.LEDGER, Kind.MOUNT})


@dataclass(frozen=True, kw_only=True)
class StoredManifest:
    """Manifest in the repository.

    `key` identifies it in the store that deletes it, "" for a manifest that was only found below an index. `blobs` are
    its config and layers with their sizes in bytes, `config` is the digest of the config, `layer_types` are the media
    types of the layers. `below` are the digests of
    the manifests that it names: those of an index, and its subject. `touched` is when it was pushed or tagged last, in
    seconds since 1970, None where the registry does not tell.
    """

    digest: str
    kind: Kind
    tags: frozenset[str] = frozenset()
    key: str = ""
    size: int = 0
    blobs: Mapping[str, int] = field(default_factory=dict)
    config: str = ""
    layer_types: frozenset[str] = frozenset()
    below: tuple[str, ...] = ()
    is_referrer: bool = False
    touched: float | None = None

    def has_layer_types(self, beginnings: tuple[str, ...]) -> bool:
        """Tell whether the media type of every layer has one of these beginnings."""
        return all(media_type.startswith(beginnings) for media_type in self.layer_types)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Manifests of one repository by digest. `lists_untagged` tells whether those without a tag are among them."""

    manifests: Mapping[str, StoredManifest] = field(default_factory=dict)
    lists_untagged: bool = False

    @cached_property
    def needed_by_others(self) -> frozenset[str]:
        """Return the digests that another manifest names: images of an index, and subjects of attestations.

        A tag `sha256-HEX` belongs to the manifest with this digest (distribution-spec, "Referrers Tag Schema"; cosign
        adds an ending such as `.sig`).
        """
        named: set[str] = set()
        for manifest in self.manifests.values():
            named.update(manifest.below)
            named.update(_read_referrer_tags(manifest.tags))
        return frozenset(named)

    @cached_property
    def image_blobs(self) -> Mapping[str, int]:
        """Return the blobs of everything that is not a cache, with their sizes in bytes."""
        return _join_blobs(manifest for manifest in self.manifests.values() if manifest.kind not in OWN_KINDS)

    @cached_property
    def untagged_caches(self) -> tuple[StoredManifest, ...]:
        """Return the caches that no tag and no other manifest names."""
        found = []
        for manifest in self.manifests.values():
            if is_provably_cache(manifest, self) and not manifest.tags:
                found.append(manifest)
        return tuple(found)

    @cached_property
    def by_tag(self) -> Mapping[str, StoredManifest]:
        """Return the manifest of each tag."""
        return {tag: manifest for manifest in self.manifests.values() for tag in manifest.tags}


def is_provably_cache(manifest: StoredManifest, contents: Contents) -> bool:
    """Tell whether a manifest is a cache by its media type, and part of no image, attestation or signature."""
    if manifest.kind not in OWN_KINDS or manifest.is_referrer:
        return False
    return manifest.digest not in contents.needed_by_others


def describe_manifest(version: TaggedVersion, content: bytes) -> StoredManifest:
    """Return what a manifest is and what it names; content that is not a manifest is of unknown kind."""
    try:
        document = parse_json_object(content)
    except InvalidCache:
        document = {}
    subject = _read_digests([document.get("subject")])
    config = document.get("config")
    layers = _as_list(document.get("layers"))
    return StoredManifest(
        digest=version.digest,
        kind=_find_kind(document),
        tags=version.tags,
        key=version.key,
        size=len(content),
        blobs=_read_blobs([config, *layers]),
        config=next(iter(_read_digests([config])), ""),
        layer_types=frozenset(str(layer.get("mediaType")) for layer in layers if isinstance(layer, dict)),
        below=(*_read_digests(_as_list(document.get("manifests"))), *subject),
        is_referrer=bool(document.get("subject")),
        touched=version.touched,
    )


def _find_kind(document: Mapping[str, Any]) -> Kind:
    if "manifests" in document:
        return Kind.INDEX
    config = document.get("config")
    media_type = config.get("mediaType") if isinstance(config, dict) else None
    if media_type == CONFIG_TYPE:
        return Kind.CACHE
    if media_type == LEDGER_TYPE:
        return Kind.LEDGER
    if media_type in _IMAGE_CONFIGS:
        annotations = document.get("annotations")
        is_mount = isinstance(annotations, dict) and MOUNT_ANNOTATION in annotations
        return Kind.MOUNT if is_mount else Kind.IMAGE
    return Kind.UNKNOWN


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_digests(entries: Iterable[Any]) -> tuple[str, ...]:
    """Return the digests of descriptors, as far as they have one."""
    digests = [entry.get("digest") for entry in entries if isinstance(entry, dict)]
    return tuple(digest for digest in digests if isinstance(digest, str))


def _read_blobs(entries: Iterable[Any]) -> dict[str, int]:
    """Return digest and size in bytes of descriptors; 0 for a size that is not valid."""
    blobs: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str):
            size = entry.get("size")
            blobs[entry["digest"]] = size if isinstance(size, int) and size >= 0 else 0
    return blobs


def _read_referrer_tags(tags: Iterable[str]) -> Iterable[str]:
    for tag in tags:
        if tag.startswith("sha256-"):
            yield f"sha256:{tag.removeprefix('sha256-').partition('.')[0]}"


def _join_blobs(manifests: Iterable[StoredManifest]) -> dict[str, int]:
    joined: dict[str, int] = {}
    for manifest in manifests:
        joined.update(manifest.blobs)
    return joined
