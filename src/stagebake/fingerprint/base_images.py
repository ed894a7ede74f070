"""What the registries say of the images that stages take from: digest, variables, ONBUILD triggers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from stagebake.errors import RegistryError
from stagebake.fingerprint.model import ImageInfo
from stagebake.stores.http import fetch_all
from stagebake.stores.registry import Registry

# distribution/reference, regexp.go: a tag has no slash, so a colon before one belongs to the host's port
_REFERENCE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[^/:@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


def look_up_images(references: Iterable[str], platform: str) -> dict[str, ImageInfo]:
    """What is known of each image for a platform (`linux/amd64`); one of which no registry tells is absent."""
    answers = fetch_all(lambda reference: _image(reference, platform), references)
    return {reference: image for reference, image in answers.items() if isinstance(image, ImageInfo)}


def _image(reference: str, platform: str) -> ImageInfo | None:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    registry = Registry(found["name"])
    try:
        digest = found["digest"] or registry.read_digest(found["tag"] or "latest")
        return _described(registry, digest, platform) if digest else None
    except RegistryError:
        return None
    finally:
        registry.close()


def _described(registry: Registry, digest: str, platform: str) -> ImageInfo:
    """The image with its configuration, or with its digest alone where that cannot be read."""
    try:
        manifest = json.loads(registry.read_manifest(digest) or b"{}")
        if "manifests" in manifest:
            manifest = json.loads(registry.read_manifest(_of_platform(manifest["manifests"], platform)) or b"{}")
        content = registry.read_blobs([manifest["config"]["digest"]])[manifest["config"]["digest"]]
        config = json.loads(content if isinstance(content, bytes) else b"{}")["config"]
        env = dict(pair.split("=", 1) for pair in config.get("Env") or ())
        return ImageInfo(digest=digest, env=env, triggers=tuple(config.get("OnBuild") or ()))
    except (RegistryError, ValueError, KeyError, TypeError, StopIteration):
        return ImageInfo(digest=digest)


def _of_platform(manifests: Iterable[Mapping[str, Any]], platform: str) -> str:
    """The digest of the image of a platform. Raises StopIteration where an index has none."""
    system, architecture, variant = (*platform.split("/"), None, None)[:3]
    return next(
        str(entry["digest"])
        for entry in manifests
        if (entry["platform"]["os"], entry["platform"]["architecture"]) == (system, architecture)
        and variant in (None, entry["platform"].get("variant"))
    )
