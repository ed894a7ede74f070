"""Read the labels of an image that a registry has, without pulling its layers.

opencontainers/image-spec: image-index.md, manifest.md, config.md ("Labels").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from stagebake.errors import RegistryError


class ImageStore(Protocol):
    """Registry part that this module needs."""

    def read_manifest(self, reference: str) -> bytes | None: ...

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...


def read_image_labels(store: ImageStore, tag: str) -> Mapping[str, str] | None:
    """Return the labels of the image with this tag; None where the tag is missing or names something else.

    For an image of several platforms, return those of the first. Raises RegistryError.
    """
    manifest = _read_document(store.read_manifest(tag))
    if platform := _first_platform(manifest):
        manifest = _read_document(store.read_manifest(platform))
    digest = _nested(manifest, "config", "digest")
    if not isinstance(digest, str):
        return None
    config = store.read_blobs([digest])[digest]
    if isinstance(config, RegistryError):
        raise config
    labels = _nested(_read_document(config), "config", "Labels")
    if not isinstance(labels, dict):
        return None
    return {str(key): str(value) for key, value in labels.items()}


def _first_platform(index: Mapping[str, Any]) -> str | None:
    """Return the digest of an index's first image. BuildKit marks attestations with the platform `unknown`."""
    manifests = index.get("manifests")
    if not isinstance(manifests, list):
        return None
    for manifest in manifests:
        digest = _nested(manifest, "digest")
        if isinstance(digest, str) and _nested(manifest, "platform", "os") != "unknown":
            return digest
    return None


def _read_document(content: bytes | None) -> Mapping[str, Any]:
    """Parse a JSON object; anything else counts as an empty one."""
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _nested(document: Any, *keys: str) -> Any:
    """Return the value at this path of keys; None where one is missing."""
    for key in keys:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document
