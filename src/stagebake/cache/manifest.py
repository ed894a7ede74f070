"""Read and write OCI manifests of caches and artifacts. Pure: JSON in, JSON out.

The format is the image manifest of opencontainers/image-spec (manifest.md). A BuildKit cache is an image manifest whose
config has the media type `CONFIG_TYPE`; `cache_config` reads that config.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"
LEDGER_TYPE = "application/vnd.stagebake.ledger.v1+xz"
# The content of a cache mount is an image with this annotation
MOUNT_ANNOTATION = "stagebake.content"

# moby/buildkit, cache/remotecache/import.go: BuildKit silently ignores a larger manifest or config
MAX_BYTES = 1 << 20


class InvalidCache(ValueError):
    """Content that is not a valid BuildKit cache."""


@dataclass(frozen=True, slots=True)
class ManifestAndConfig:
    """Cache or artifact in the form in which it is pushed: the manifest and the config that it names."""

    manifest: bytes
    config: bytes

    @property
    def digest(self) -> str:
        return sha256_digest(self.manifest)

    @property
    def too_large(self) -> bool:
        return max(len(self.manifest), len(self.config)) > MAX_BYTES

    def with_annotation(self, name: str, value: str) -> ManifestAndConfig:
        """Return the same content under another digest: with this annotation of the manifest."""
        manifest = json.loads(self.manifest)
        manifest["annotations"] = {**manifest.get("annotations", {}), name: value}
        return ManifestAndConfig(manifest=encode_json(manifest), config=self.config)

    def with_other_config(self) -> ManifestAndConfig:
        """Return the same cache with another config blob (JSON may end in white space); an artifact unchanged."""
        manifest = json.loads(self.manifest)
        if manifest["config"]["mediaType"] != CONFIG_TYPE:
            return self
        config = self.config + b"\n"
        manifest["config"]["digest"] = sha256_digest(config)
        manifest["config"]["size"] = len(config)
        return ManifestAndConfig(manifest=encode_json(manifest), config=config)


def sha256_digest(data: bytes) -> str:
    """Return the digest of a blob as OCI writes it: `sha256:HEX`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config_digest(manifest: bytes) -> str:
    """Return the digest of the config that a cache manifest names. Raises InvalidCache for another manifest."""
    config = parse_json_object(manifest).get("config")
    if not isinstance(config, dict) or config.get("mediaType") != CONFIG_TYPE:
        raise InvalidCache("not a cache manifest of BuildKit")
    return str(config.get("digest"))


def layer_sizes(manifest: bytes) -> dict[str, int]:
    """Return digest and size in bytes of the layers that a manifest names. Raises InvalidCache."""
    layers = parse_json_object(manifest).get("layers", [])
    try:
        return {str(layer["digest"]): int(layer["size"]) for layer in layers}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidCache("its `layers` are not valid") from None


def read_annotation(manifest: bytes, name: str) -> str:
    """Return an annotation of a manifest, "" where it is missing. Raises InvalidCache."""
    annotations = parse_json_object(manifest).get("annotations")
    if not isinstance(annotations, dict):
        return ""
    return str(annotations.get(name, ""))


def image_manifests(index: bytes) -> list[str]:
    """Return the digests of the images that an index names. Raises InvalidCache.

    Attestations are skipped: their platform is unknown/unknown.
    """
    entries = parse_json_object(index).get("manifests", [])
    digests: list[str] = []
    try:
        for entry in entries:
            if entry.get("platform", {}).get("os") != "unknown":
                digests.append(str(entry["digest"]))
    except (KeyError, TypeError, AttributeError):
        raise InvalidCache("its `manifests` are not valid") from None
    return digests


def build_artifact(content: bytes, media_type: str) -> ManifestAndConfig:
    """Wrap bytes into an OCI artifact: they are both its config and its layer, which some registries require."""
    blob = describe_blob(content, media_type)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": media_type,
        "config": blob,
        "layers": [blob],
    }
    return ManifestAndConfig(manifest=encode_json(manifest), config=content)


def build_manifest(config: bytes, layers: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the manifest of a cache with this config and these layer descriptors."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": describe_blob(config, CONFIG_TYPE),
        "layers": layers,
    }
    return encode_json(manifest)


def describe_blob(content: bytes, media_type: str) -> dict[str, Any]:
    """Return the OCI descriptor of a blob (image-spec, descriptor.md)."""
    return {"mediaType": media_type, "digest": sha256_digest(content), "size": len(content)}


def parse_json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises InvalidCache for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidCache("not JSON") from None
    if not isinstance(document, dict):
        raise InvalidCache("not a JSON object")
    return document


def encode_json(document: Mapping[str, Any]) -> bytes:
    """Return compact JSON with sorted keys, so that equal documents have equal bytes."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
