"""Keep a registry in memory: manifests, blobs and tags, with the deletes and the clock of ghcr.io."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from stagebake.cache.backends import ContentAnswers, SizeAnswers, TaggedVersion
from stagebake.cache.cache_config import serialize_cache
from stagebake.cache.manifest import MOUNT_ANNOTATION, ManifestAndConfig, sha256_digest
from stagebake.errors import CorruptBlob, RegistryError
from tests.support.caches import cache_of, layer, record

IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass
class MemoryRegistry:
    """Repository of one image; satisfies CacheRepository and VersionStore. `now` is in seconds since 1970.

    With `lists_untagged` it lists manifests without tags, as GitHub's packages API does.
    """

    image: str = "registry.test/app"
    lists_untagged: bool = True
    now: float = 1_800_000_000.0
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pushed: dict[str, float] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    before_delete: Callable[[], None] = lambda: None

    def import_source(self, digest: str, tag: str | None) -> str:
        return f"{self.image}@{digest}"

    def read_manifest(self, reference: str) -> bytes | None:
        return self.manifests.get(self.tags.get(reference, reference))

    def read_manifests(self, references: Iterable[str]) -> ContentAnswers:
        return {reference: self.read_manifest(reference) for reference in references}

    def read_blobs(self, digests: Iterable[str]) -> ContentAnswers:
        return {digest: self._read_blob(digest) for digest in digests}

    def _read_blob(self, digest: str) -> bytes | RegistryError | None:
        content = self.blobs.get(digest)
        if content is not None and sha256_digest(content) != digest:
            return CorruptBlob(f"{digest} holds other bytes", "")
        return content

    def hash_blobs(self, digests: Iterable[str]) -> dict[str, str | RegistryError | None]:
        return {digest: sha256_digest(self.blobs[digest]) if digest in self.blobs else None for digest in digests}

    def read_blob_sizes(self, digests: Iterable[str]) -> SizeAnswers:
        return {digest: len(self.blobs[digest]) if digest in self.blobs else None for digest in digests}

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        self.blobs[sha256_digest(document.config)] = document.config
        return self.put(json.loads(document.manifest), tag, content=document.manifest)

    def remove_unused_blobs(self) -> None:
        """Delete the blobs that no manifest names, as a registry does at some time."""
        named = {digest for content in self.manifests.values() for digest in blobs_of(content)}
        self.blobs = {digest: content for digest, content in self.blobs.items() if digest in named}

    def list_versions(self) -> list[TaggedVersion]:
        versions = []
        for digest in self.manifests:
            tags = frozenset(tag for tag, named in self.tags.items() if named == digest)
            if tags or self.lists_untagged:
                touched = self.pushed[digest] if self.lists_untagged else None
                versions.append(TaggedVersion(key=digest, tags=tags, digest=digest, touched=touched))
        return versions

    def delete_version(self, version: TaggedVersion) -> str | None:
        self.before_delete()
        del self.manifests[version.digest]
        self.deleted.append(version.digest)
        self.tags = {tag: digest for tag, digest in self.tags.items() if digest != version.digest}
        return None

    def put(self, document: dict[str, Any], *tags: str | None, content: bytes | None = None) -> str:
        """Push a manifest, give it these tags, and return its digest. Blobs that it names must exist."""
        content = content or json.dumps(document).encode()
        missing = set(blobs_of(content)) - self.blobs.keys()
        if missing:
            raise RegistryError(f"{self.image}: MANIFEST_BLOB_UNKNOWN: {sorted(missing)}", "push the blobs first")
        digest = sha256_digest(content)
        self.manifests[digest] = content
        self.pushed[digest] = self.now
        for tag in tags:
            if tag is not None:
                self.tags[tag] = digest
        return digest

    def put_blob(self, content: bytes, media_type: str = LAYER) -> dict[str, Any]:
        """Push a blob; return its descriptor."""
        digest = sha256_digest(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def put_image(self, name: str, *tags: str, layers: Iterable[str] = (), **more: Any) -> str:
        """Push an image with the layers of these names; return its digest."""
        config = self.put_blob(f"config of {name}".encode(), IMAGE_CONFIG)
        descriptors = [self.put_blob(layer_content(entry)) for entry in layers]
        return self.put({"schemaVersion": 2, "config": config, "layers": descriptors, **more}, *tags)

    def put_mount(self, name: str, *tags: str) -> str:
        """Push the content of a cache mount, as stagebake does; return its digest."""
        return self.put_image(name, *tags, layers=(name,), annotations={MOUNT_ANNOTATION: "1"})

    def put_index(self, *children: str, tags: Iterable[str] = (), **more: Any) -> str:
        """Push an index over these manifests; return its digest."""
        entries = [{"mediaType": "any", "digest": child, "size": 1} for child in children]
        return self.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **more}, *tags)

    def put_cache(self, *layers: str, tags: Iterable[str] = (), at: str = "2026-11-20T10:00:00Z") -> str:
        """Push a BuildKit cache with one step for each of these layers, whose names have 7 bytes; return its digest."""
        assert {len(name) for name in layers} <= {7}, "the size in every descriptor of tests.support.caches"
        entries = [layer(name, parent) for parent, name in enumerate(layers, start=-1)]
        records = [record(name, at=at, layer=index) for index, name in enumerate(layers)]
        cache = cache_of(*entries, records=records)
        for name in layers:
            content = name.encode()
            self.blobs[sha256_digest(content)] = content
        document = serialize_cache(cache)
        self.blobs[sha256_digest(document.config)] = document.config
        return self.put(json.loads(document.manifest), *tags, content=document.manifest)


def layer_content(name: str) -> bytes:
    """Return the bytes of a layer; `tests.support.caches.digest` of the name is its digest."""
    return name.encode()


def blobs_of(manifest: bytes) -> list[str]:
    """Return the digests of the config and the layers of a manifest."""
    document = json.loads(manifest)
    entries = [document.get("config"), *document.get("layers", [])]
    return [entry["digest"] for entry in entries if entry]
