"""Caches in a directory, without BuildKit: what is put there is found, and what nothing names goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from stagebake.cache.manifest import (
    CONFIG_TYPE,
    ManifestAndConfig,
    build_artifact,
    config_digest,
    layer_sizes,
    sha256_digest,
)
from stagebake.errors import RegistryError
from stagebake.stores.oci_layout import OciLayout


def document(text: str) -> ManifestAndConfig:
    """A cache with one layer, whose blob nobody has written."""
    config = json.dumps({"text": text}).encode()
    descriptor = {"mediaType": CONFIG_TYPE, "digest": sha256_digest(config), "size": len(config)}
    layer = {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": sha256_digest(b"layer"),
        "size": 5,
    }
    manifest = json.dumps({"schemaVersion": 2, "config": descriptor, "layers": [layer]}).encode()
    return ManifestAndConfig(manifest=manifest, config=config)


def blobs(folder: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (folder / "blobs/sha256").iterdir()}


def age(folder: Path) -> None:
    """Makes all blobs two hours old."""
    then = time.time() - 7200
    for path in (folder / "blobs/sha256").iterdir():
        os.utime(path, (then, then))


def test_an_empty_place_has_nothing(tmp_path: Path) -> None:
    """Where nothing was saved yet, nothing is there, and nothing is made by asking."""
    layout = OciLayout(tmp_path / "caches")
    assert layout.read_manifests(["cache", "sha256:0"]) == {"cache": None, "sha256:0": None}
    assert layout.read_blob_sizes(["sha256:0"]) == {"sha256:0": None}
    layout.remove_unused_blobs()
    assert not (tmp_path / "caches").exists()


def test_what_is_put_is_found_by_tag_and_digest(tmp_path: Path) -> None:
    """Manifest and config come back; without a tag by the digest alone."""
    layout, one, two = OciLayout(tmp_path), document("one"), document("two")
    assert layout.push_manifest(one, "cache") == one.digest
    layout.push_manifest(two)
    assert layout.read_manifest("cache") == layout.read_manifest(one.digest) == one.manifest
    assert layout.read_manifest(two.digest) == two.manifest
    digest = config_digest(one.manifest)
    assert layout.read_blobs([digest]) == {digest: one.config}
    assert layout.read_blob_sizes([digest]) == {digest: len(one.config)}


def test_an_artifact_is_kept_as_it_is(tmp_path: Path) -> None:
    """Bytes that are no text, such as a ledger, come back; a sweep leaves them, because a tag leads there."""
    layout, ledger = OciLayout(tmp_path), build_artifact(b"\xfd7zXZ\x00", "application/x-ledger")
    layout.push_manifest(ledger, "cache-ledger")
    age(tmp_path)
    layout.remove_unused_blobs()
    manifest = layout.read_manifest("cache-ledger")
    assert manifest == ledger.manifest
    assert list(layout.read_blobs(layer_sizes(manifest)).values()) == [ledger.config]


def test_a_tag_moves(tmp_path: Path) -> None:
    """The tag stands for what was put last; the others stay."""
    layout = OciLayout(tmp_path)
    layout.push_manifest(document("one"), "cache")
    layout.push_manifest(document("base"), "cache-base")
    layout.push_manifest(document("two"), "cache")
    assert layout.read_manifest("cache") == document("two").manifest
    assert layout.read_manifest("cache-base") == document("base").manifest


def test_what_no_tag_leads_to_is_removed_after_an_hour(tmp_path: Path) -> None:
    """A sweep keeps manifests, configs and layers of tags, and what is young: it may be of a build under way."""
    layout = OciLayout(tmp_path)
    layout.push_manifest(document("old"), "cache")
    layout.push_manifest(document("new"), "cache")
    layer = sha256_digest(b"layer")
    (tmp_path / "blobs/sha256" / layer.removeprefix("sha256:")).write_bytes(b"layer")
    leftover = tmp_path / "ingest/killed/data"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    layout.remove_unused_blobs()
    assert len(blobs(tmp_path)) == 5
    age(tmp_path)
    os.utime(leftover, (0, 0))
    layout.remove_unused_blobs()
    new = document("new")
    assert blobs(tmp_path) == {new.digest, config_digest(new.manifest), layer}
    assert not leftover.exists()


def test_a_blob_with_other_bytes_is_told_and_written_anew(tmp_path: Path) -> None:
    """A config that was cut is an error when it is read; putting the same cache again mends it."""
    layout, one = OciLayout(tmp_path), document("one")
    layout.push_manifest(one, "cache")
    digest = config_digest(one.manifest)
    (tmp_path / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(one.config[:-1])
    assert isinstance(layout.read_blobs([digest])[digest], RegistryError)
    assert layout.read_blob_sizes([digest]) == {digest: len(one.config) - 1}
    layout.push_manifest(one, "cache")
    assert layout.read_blobs([digest]) == {digest: one.config}


def test_a_config_with_a_flipped_byte_is_written_anew(tmp_path: Path) -> None:
    """As long as the right one is not right: putting the same cache again mends it."""
    layout, one = OciLayout(tmp_path), document("one")
    layout.push_manifest(one, "cache")
    digest = config_digest(one.manifest)
    path = tmp_path / "blobs/sha256" / digest.removeprefix("sha256:")
    path.write_bytes(bytes([one.config[0] ^ 1]) + one.config[1:])
    layout.push_manifest(one, "cache")
    assert layout.read_blobs([digest]) == {digest: one.config}


@pytest.mark.parametrize(
    "entry",
    [None, [], "x", {}, {"digest": 1}, {"digest": "sha256:0", "annotations": None},
     {"annotations": {"org.opencontainers.image.ref.name": "cache"}},
     {"digest": "sha256:0", "annotations": {"org.opencontainers.image.ref.name": []}}],
    ids=json.dumps,
)  # fmt: skip
def test_an_entry_of_the_index_that_is_none(tmp_path: Path, entry: object) -> None:
    """It stands for no tag, breaks nothing, and stays where another tag is written: it may be somebody's."""
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    layout, one = OciLayout(tmp_path), document("one")
    assert layout.read_manifest("cache") is None
    layout.push_manifest(one, "cache")
    assert layout.read_manifest("cache") == one.manifest
    layout.remove_unused_blobs()
    assert json.loads((tmp_path / "index.json").read_text())["manifests"][0] == entry


@pytest.mark.parametrize("digest", ["sha256:\x00", "sha256:../../index.json", "sha256:\ud800"])
def test_a_digest_that_is_no_name_of_a_file(tmp_path: Path, digest: str) -> None:
    """A manifest may name anything; it is told, and no file outside of the blobs is read."""
    for answers in (OciLayout(tmp_path).read_blob_sizes([digest]), OciLayout(tmp_path).read_blobs([digest])):
        assert isinstance(answers[digest], RegistryError)


@pytest.mark.parametrize("text", ["{", "[1]", '{"manifests": 1}'])
def test_an_index_that_is_none_is_told_with_the_remedy(tmp_path: Path, text: str) -> None:
    """index.json that was cut short: one line says which file, and which folder to remove."""
    (tmp_path / "index.json").write_text(text)
    answer = OciLayout(tmp_path).read_manifests(["cache"])["cache"]
    assert isinstance(answer, RegistryError)
    assert str(tmp_path / "index.json") in answer.what
    assert answer.remedy == f"run: rm -r {tmp_path}"
