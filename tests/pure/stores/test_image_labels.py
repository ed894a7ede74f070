"""Test reading the labels of images: single images, indexes, and other content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from stagebake.errors import RegistryError
from stagebake.stores.image_labels import read_image_labels

LABELS = {"org.opencontainers.image.revision": "abc"}
CONFIG = {"config": {"Labels": LABELS}}
IMAGE = {"config": {"digest": "sha256:c"}, "layers": []}
INDEX = {
    "manifests": [
        {"digest": "sha256:attestation", "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": "sha256:image", "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}


@dataclass(frozen=True)
class Documents:
    """Store that holds these JSON documents."""

    manifests: Mapping[str, Any]
    blobs: Mapping[str, Any]

    def read_manifest(self, reference: str) -> bytes | None:
        return json.dumps(self.manifests[reference]).encode() if reference in self.manifests else None

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        return {digest: json.dumps(self.blobs[digest]).encode() if digest in self.blobs else None for digest in digests}


def test_read_image_labels_of_one_platform_returns_its_labels() -> None:
    assert read_image_labels(Documents({"latest": IMAGE}, {"sha256:c": CONFIG}), "latest") == LABELS


def test_read_image_labels_of_an_index_returns_those_of_the_first_image() -> None:
    store = Documents({"latest": INDEX, "sha256:image": IMAGE}, {"sha256:c": CONFIG})
    assert read_image_labels(store, "latest") == LABELS


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        ([], {}),
        ({"manifests": 1}, {}),
        ({"manifests": []}, {}),
        ({"manifests": [1, {"digest": 2}]}, {}),
        ({"config": 1}, {}),
        ({"config": {"digest": 7}}, {}),
        (IMAGE, []),
        (IMAGE, {"config": None}),
        (IMAGE, {"config": {"Labels": None}}),
    ],
)
def test_read_image_labels_of_other_content_is_none(manifest: Any, config: Any) -> None:
    assert read_image_labels(Documents({"latest": manifest}, {"sha256:c": config}), "latest") is None


def test_read_image_labels_of_missing_tag_or_config_is_none() -> None:
    assert read_image_labels(Documents({}, {}), "latest") is None
    assert read_image_labels(Documents({"latest": IMAGE}, {}), "latest") is None
