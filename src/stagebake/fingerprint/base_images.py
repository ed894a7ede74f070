"""Ask registries about the images that stages take from: digest, variables, ONBUILD triggers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from stagebake.errors import RegistryError
from stagebake.fingerprint.model import ImageInfo
from stagebake.http.client import fetch_all
from stagebake.stores.registry import Registry

# distribution/reference, regexp.go: a tag has no slash, so a colon before one belongs to the host's port
_REFERENCE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[^/:@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


def look_up_images(references: Iterable[str], platform: str) -> dict[str, ImageInfo]:
    """Return what registries say of each image for a platform (`linux/amd64`), without images that none answers for."""
    answers = fetch_all(lambda reference: _look_up_image(reference, platform), references)
    images: dict[str, ImageInfo] = {}
    for reference, answer in answers.items():
        if isinstance(answer, ImageInfo):
            images[reference] = answer
    return images


def _look_up_image(reference: str, platform: str) -> ImageInfo | None:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    registry = Registry(found["name"])
    tag = found["tag"] or "latest"
    try:
        digest = found["digest"] or registry.read_digest(tag)
        if not digest:
            return None
        return _read_image(registry, digest, platform)
    except RegistryError:
        return None
    finally:
        registry.close()


def _read_image(registry: Registry, digest: str, platform: str) -> ImageInfo:
    """Return an image with its configuration; with the digest only if its configuration cannot be read."""
    try:
        manifest = _read_json_manifest(registry, digest)
        if "manifests" in manifest:
            own_digest = _find_platform(manifest["manifests"], platform)
            manifest = _read_json_manifest(registry, own_digest)
        config = _read_config(registry, manifest["config"]["digest"])
        variables = config.get("Env") or []
        triggers = config.get("OnBuild") or []
        env = dict(pair.split("=", 1) for pair in variables)
    except (RegistryError, ValueError, KeyError, TypeError):
        return ImageInfo(digest=digest)
    return ImageInfo(
        digest=digest,
        env=env,
        triggers=tuple(triggers),
    )


def _read_json_manifest(registry: Registry, digest: str) -> dict[str, Any]:
    content = registry.read_manifest(digest) or b"{}"
    manifest: dict[str, Any] = json.loads(content)
    return manifest


def _read_config(registry: Registry, digest: str) -> dict[str, Any]:
    blobs = registry.read_blobs([digest])
    content = blobs[digest]
    if not isinstance(content, bytes):
        raise KeyError(digest)
    document = json.loads(content)
    config: dict[str, Any] = document["config"]
    return config


def _find_platform(manifests: Iterable[Mapping[str, Any]], platform: str) -> str:
    """Return the digest of the image for a platform. Raise KeyError if the index has none."""
    system, architecture, *variant = platform.split("/")
    for entry in manifests:
        offered = entry["platform"]
        same_system = offered["os"] == system
        same_architecture = offered["architecture"] == architecture
        same_variant = not variant or offered.get("variant") == variant[0]
        if same_system and same_architecture and same_variant:
            return str(entry["digest"])
    raise KeyError(platform)
