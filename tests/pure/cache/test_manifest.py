"""Test reading and writing of OCI manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stagebake.cache.manifest import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
    MAX_BYTES,
    InvalidCache,
    ManifestAndConfig,
    build_artifact,
    build_manifest,
    config_digest,
    image_manifests,
    layer_sizes,
    read_annotation,
    sha256_digest,
)
from tests.support.caches import files_of, layer

READERS = [config_digest, layer_sizes, image_manifests, lambda data: read_annotation(data, "name")]


@pytest.mark.parametrize("size", ["1e999", "-1e999", "NaN", '"x"', "null"])
def test_layer_sizes_size_without_meaning_is_invalid(size: str) -> None:
    """Refuse numbers that JSON allows but no blob can have."""
    manifest, _ = files_of({"layers": [layer("a")]})
    changed = manifest.replace(b'"size": 7', b'"size": ' + size.encode())
    assert changed != manifest
    with pytest.raises(InvalidCache):
        layer_sizes(changed)


@pytest.mark.parametrize(
    ("manifest", "config", "large"),
    [
        (1, MAX_BYTES, False),
        (MAX_BYTES, 1, False),
        (1, MAX_BYTES + 1, True),
        (MAX_BYTES + 1, 1, True),
    ],
    ids=["config-at-limit", "manifest-at-limit", "config-above", "manifest-above"],
)
def test_too_large_above_one_mebibyte_is_true(manifest: int, config: int, large: bool) -> None:
    """Match BuildKit, which reads a manifest or config of 1 MiB and ignores a larger one."""
    assert MAX_BYTES == 1024 * 1024
    document = ManifestAndConfig(manifest=b" " * manifest, config=b" " * config)
    assert document.too_large is large


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"null", b'"x"', b"404 page not found"], ids=repr)
@pytest.mark.parametrize("read", READERS, ids=["config", "layers", "images", "annotation"])
def test_manifest_readers_other_content_than_object_is_invalid(data: bytes, read: Callable[[bytes], object]) -> None:
    with pytest.raises(InvalidCache):
        read(data)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"config": None},
        {"config": []},
        {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:0"}},
        {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []},
    ],
    ids=["nothing", "null", "a-list", "an-image", "an-index"],
)
def test_config_digest_other_media_type_is_invalid(manifest: Any) -> None:
    """Accept only a manifest whose config has BuildKit's media type."""
    with pytest.raises(InvalidCache):
        config_digest(json.dumps(manifest).encode())


def test_image_manifests_attestations_are_skipped() -> None:
    """Skip the entries of an index that have an unknown platform."""
    index = {
        "manifests": [
            {"digest": "sha256:1", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:2", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:3"},
        ]
    }
    assert image_manifests(json.dumps(index).encode()) == ["sha256:1", "sha256:3"]


@pytest.mark.parametrize("entries", [3, [3], [{}], [{"platform": 3}]], ids=json.dumps)
def test_image_manifests_entries_of_other_shape_are_invalid(entries: Any) -> None:
    with pytest.raises(InvalidCache):
        image_manifests(json.dumps({"manifests": entries}).encode())


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ({"annotations": {"name": "value"}}, "value"),
        ({"annotations": {}}, ""),
        ({"annotations": 3}, ""),
        ({}, ""),
    ],
    ids=["present", "absent", "number", "no-annotations"],
)
def test_read_annotation_missing_one_is_empty(manifest: Any, text: str) -> None:
    assert read_annotation(json.dumps(manifest).encode(), "name") == text


def test_build_manifest_names_config_and_layers() -> None:
    layers = [{"mediaType": "x", "digest": sha256_digest(b"layer"), "size": 5}]
    manifest = build_manifest(b"config", layers)
    assert config_digest(manifest) == sha256_digest(b"config")
    assert layer_sizes(manifest) == {sha256_digest(b"layer"): 5}
    assert json.loads(manifest)["mediaType"] == MANIFEST_TYPE


def test_build_artifact_content_is_config_and_layer() -> None:
    artifact = build_artifact(b"\xfd7z", "application/x-ledger")
    manifest = json.loads(artifact.manifest)
    assert artifact.config == b"\xfd7z"
    assert manifest["artifactType"] == "application/x-ledger"
    assert manifest["layers"] == [manifest["config"]]
    assert layer_sizes(artifact.manifest) == {sha256_digest(b"\xfd7z"): 3}


def test_with_other_config_cache_gets_another_digest_and_equal_json() -> None:
    document = ManifestAndConfig(manifest=build_manifest(b"{}", []), config=b"{}")
    other = document.with_other_config()
    assert json.loads(other.config) == json.loads(document.config)
    assert config_digest(other.manifest) == sha256_digest(other.config) != sha256_digest(document.config)
    assert json.loads(other.manifest)["config"]["size"] == len(other.config)
    assert json.loads(other.manifest)["config"]["mediaType"] == CONFIG_TYPE


def test_with_other_config_artifact_stays_unchanged() -> None:
    artifact = build_artifact(b"bytes", "text/plain")
    assert artifact.with_other_config() is artifact
