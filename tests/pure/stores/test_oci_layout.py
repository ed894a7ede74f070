"""Test caches in a directory, without BuildKit."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from stagebake.cache.manifest import (
    ManifestAndConfig,
    build_artifact,
    build_manifest,
    config_digest,
    layer_sizes,
    sha256_digest,
)
from stagebake.errors import RegistryError
from stagebake.stores.oci_layout import OciLayout

LAYER = sha256_digest(b"layer")
REF_NAME = "org.opencontainers.image.ref.name"


def build_document(text: str) -> ManifestAndConfig:
    """Return a cache with one layer, whose blob does not exist."""
    config = json.dumps({"text": text}).encode()
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": LAYER, "size": 5}
    return ManifestAndConfig(manifest=build_manifest(config, [layer]), config=config)


def blob_path(folder: Path, digest: str) -> Path:
    return folder / "blobs/sha256" / digest.removeprefix("sha256:")


def list_blobs(folder: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (folder / "blobs/sha256").iterdir()}


def make_blobs_old(folder: Path) -> None:
    """Set the times of all blobs back by two hours."""
    then = time.time() - 7200
    for path in (folder / "blobs/sha256").iterdir():
        os.utime(path, (then, then))


def test_read_of_missing_directory_finds_nothing_and_creates_nothing(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "caches")
    assert layout.read_manifests(["cache", "sha256:0"]) == {"cache": None, "sha256:0": None}
    assert layout.read_blob_sizes(["sha256:0"]) == {"sha256:0": None}
    layout.remove_unused_blobs()
    assert not (tmp_path / "caches").exists()


def test_push_manifest_with_tag_is_found_by_tag_and_digest(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    document = build_document("tagged")
    assert layout.push_manifest(document, "cache") == document.digest
    assert layout.read_manifest("cache") == document.manifest
    assert layout.read_manifest(document.digest) == document.manifest
    digest = config_digest(document.manifest)
    assert layout.read_blobs([digest]) == {digest: document.config}
    assert layout.read_blob_sizes([digest]) == {digest: len(document.config)}


def test_push_manifest_without_tag_is_found_by_digest(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    document = build_document("untagged")
    layout.push_manifest(document)
    assert layout.read_manifest(document.digest) == document.manifest


def test_remove_unused_blobs_tagged_artifact_stays(tmp_path: Path) -> None:
    """Keep bytes that are not text, such as a ledger, because a tag names them."""
    layout = OciLayout(tmp_path)
    ledger = build_artifact(b"\xfd7zXZ\x00", "application/x-ledger")
    layout.push_manifest(ledger, "cache-ledger")
    make_blobs_old(tmp_path)
    layout.remove_unused_blobs()
    manifest = layout.read_manifest("cache-ledger")
    assert manifest == ledger.manifest
    assert list(layout.read_blobs(layer_sizes(manifest)).values()) == [ledger.config]


def test_push_manifest_with_existing_tag_moves_only_that_tag(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    layout.push_manifest(build_document("one"), "cache")
    layout.push_manifest(build_document("base"), "cache-base")
    layout.push_manifest(build_document("two"), "cache")
    assert layout.read_manifest("cache") == build_document("two").manifest
    assert layout.read_manifest("cache-base") == build_document("base").manifest


def test_remove_unused_blobs_deletes_untagged_ones_after_an_hour(tmp_path: Path) -> None:
    """Keep what tags name, and young blobs, which may belong to a build that is running."""
    layout = OciLayout(tmp_path)
    new = build_document("new")
    layout.push_manifest(build_document("old"), "cache")
    layout.push_manifest(new, "cache")
    blob_path(tmp_path, LAYER).write_bytes(b"layer")
    interrupted = tmp_path / "ingest/killed/data"
    interrupted.parent.mkdir(parents=True)
    interrupted.write_bytes(b"half")
    layout.remove_unused_blobs()
    assert len(list_blobs(tmp_path)) == 5
    make_blobs_old(tmp_path)
    os.utime(interrupted, (0, 0))
    layout.remove_unused_blobs()
    assert list_blobs(tmp_path) == {new.digest, config_digest(new.manifest), LAYER}
    assert not interrupted.exists()


def test_push_manifest_shortened_config_is_written_again(tmp_path: Path) -> None:
    """Report the wrong bytes when they are read; overwrite them with the next push."""
    layout = OciLayout(tmp_path)
    document = build_document("one")
    layout.push_manifest(document, "cache")
    digest = config_digest(document.manifest)
    blob_path(tmp_path, digest).write_bytes(document.config[:-1])
    assert isinstance(layout.read_blobs([digest])[digest], RegistryError)
    assert layout.read_blob_sizes([digest]) == {digest: len(document.config) - 1}
    layout.push_manifest(document, "cache")
    assert layout.read_blobs([digest]) == {digest: document.config}


def test_push_manifest_config_with_flipped_bit_is_written_again(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    document = build_document("one")
    layout.push_manifest(document, "cache")
    digest = config_digest(document.manifest)
    flipped = bytes([document.config[0] ^ 1])
    blob_path(tmp_path, digest).write_bytes(flipped + document.config[1:])
    layout.push_manifest(document, "cache")
    assert layout.read_blobs([digest]) == {digest: document.config}


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "x",
        {},
        {"digest": 1},
        {"digest": "sha256:0", "annotations": None},
        {"annotations": {REF_NAME: "cache"}},
        {"digest": "sha256:0", "annotations": {REF_NAME: []}},
    ],
    ids=json.dumps,
)
def test_index_entry_of_other_shape_is_ignored_and_kept(tmp_path: Path, entry: object) -> None:
    """Keep the entry where another tag is written: another tool may use it."""
    index_path = tmp_path / "index.json"
    index_path.write_text(json.dumps({"manifests": [entry]}))
    layout = OciLayout(tmp_path)
    document = build_document("one")
    assert layout.read_manifest("cache") is None
    layout.push_manifest(document, "cache")
    assert layout.read_manifest("cache") == document.manifest
    layout.remove_unused_blobs()
    assert json.loads(index_path.read_text())["manifests"][0] == entry


@pytest.mark.parametrize("digest", ["sha256:\x00", "sha256:../../index.json", "sha256:\ud800"])
def test_read_blobs_digest_that_is_not_a_file_name_is_an_error(tmp_path: Path, digest: str) -> None:
    """Read no file outside of the blobs, whatever a manifest names."""
    layout = OciLayout(tmp_path)
    for answers in (layout.read_blob_sizes([digest]), layout.read_blobs([digest])):
        assert isinstance(answers[digest], RegistryError)


@pytest.mark.parametrize("text", ["{", "[1]", '{"manifests": 1}'])
def test_read_manifests_damaged_index_is_an_error_with_the_command(tmp_path: Path, text: str) -> None:
    """Name the file, and the command that removes the directory."""
    (tmp_path / "index.json").write_text(text)
    answer = OciLayout(tmp_path).read_manifests(["cache"])["cache"]
    assert isinstance(answer, RegistryError)
    assert str(tmp_path / "index.json") in answer.problem
    assert answer.hint == f"run: rm -r {tmp_path}"
