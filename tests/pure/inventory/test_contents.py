"""Test what a manifest is taken for, and which manifests others need."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stagebake.cache.backends import TaggedVersion
from stagebake.cache.manifest import CONFIG_TYPE, LEDGER_TYPE, MOUNT_ANNOTATION
from stagebake.inventory.contents import Contents, Kind, StoredManifest, describe_manifest, is_provably_cache
from stagebake.inventory.read_contents import read_contents
from tests.support.memory_registry import IMAGE_CONFIG, MemoryRegistry

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def describe(document: Any) -> StoredManifest:
    return describe_manifest(TaggedVersion(key="1", tags=frozenset(), digest="sha256:1"), json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"config": {"mediaType": CONFIG_TYPE, "digest": "sha256:2", "size": 1}}, Kind.CACHE),
        ({"config": {"mediaType": LEDGER_TYPE}}, Kind.LEDGER),
        ({"config": {"mediaType": IMAGE_CONFIG}}, Kind.IMAGE),
        ({"config": {"mediaType": DOCKER_CONFIG}, "annotations": None}, Kind.IMAGE),
        ({"config": {"mediaType": IMAGE_CONFIG}, "annotations": {MOUNT_ANNOTATION: "1"}}, Kind.MOUNT),
        ({"manifests": []}, Kind.INDEX),
        ({"manifests": None, "config": {"mediaType": CONFIG_TYPE}}, Kind.INDEX),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, Kind.UNKNOWN),
        ({"config": [], "layers": {}}, Kind.UNKNOWN),
        ({}, Kind.UNKNOWN),
        ([], Kind.UNKNOWN),
    ],
)
def test_describe_manifest_kind_follows_from_media_types(document: Any, kind: Kind) -> None:
    assert describe(document).kind is kind


def test_describe_manifest_sizes_that_are_not_valid_are_zero() -> None:
    layers = [{"digest": "sha256:2", "size": -1}, {"digest": "sha256:3", "size": 5}, {"size": 5}, "x"]
    assert describe({"layers": layers}).blobs == {"sha256:2": 0, "sha256:3": 5}


def read(registry: MemoryRegistry) -> Contents:
    return read_contents(registry, registry)


def test_is_provably_cache_part_of_an_index_is_not() -> None:
    registry = MemoryRegistry()
    free, child = registry.put_cache("layer-1"), registry.put_cache("layer-2")
    registry.put_index(child)
    contents = read(registry)
    assert is_provably_cache(contents.manifests[free], contents)
    assert not is_provably_cache(contents.manifests[child], contents)
    assert [manifest.digest for manifest in contents.untagged_caches] == [free]


def test_is_provably_cache_subject_and_referrer_are_not() -> None:
    """Keep what a signature is about, by the field or by the tag, and the signature itself."""
    registry = MemoryRegistry()
    signed, tagged = registry.put_cache("layer-1"), registry.put_cache("layer-2")
    signature = {
        "config": registry.put_blob(b"{}", CONFIG_TYPE),
        "subject": {"mediaType": "any", "digest": signed, "size": 1},
    }
    referrer = registry.put(signature)
    registry.put_image("signature", f"sha256-{tagged.removeprefix('sha256:')}.sig")
    contents = read(registry)
    assert not any(is_provably_cache(contents.manifests[digest], contents) for digest in (signed, tagged, referrer))
