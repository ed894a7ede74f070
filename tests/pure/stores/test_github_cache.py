"""Test caches in GitHub's cache service with a service in memory: access, keys, unexpected responses."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from stagebake.cache.backends import SIZE_UNKNOWN
from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, build_artifact, config_digest, layer_sizes
from stagebake.errors import RegistryError
from stagebake.stores.github_cache import GithubCache, ServiceEntry, ServiceV1, ServiceV2, connect_cache_service
from tests.support.page import HTML, answering
from tests.support.service import token

MAIN = "refs/heads/main"
BRANCH = "refs/heads/feature"
V1 = {"ACTIONS_CACHE_URL": "http://127.0.0.1:1/"}
V2 = {"ACTIONS_CACHE_SERVICE_V2": "True", "ACTIONS_RESULTS_URL": "http://127.0.0.1:1/"}
LAYER = {"blob": "sha256:" + "a" * 64, "parent": -1}
NOTES = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 7, "diffID": "sha256:" + "b" * 64}


@dataclass
class MemoryService:
    """Cache service in memory."""

    entries: dict[str, bytes] = field(default_factory=dict)

    def find_entry(self, prefix: str) -> ServiceEntry | None:
        keys = [key for key in self.entries if key.startswith(prefix)]
        return ServiceEntry(key=keys[-1], url=keys[-1]) if keys else None

    def read_entry(self, url: str) -> bytes:
        return self.entries[url]

    def save_entry(self, key: str, content: bytes) -> bool:
        return self.entries.setdefault(key, content) is content

    def close(self) -> None:
        """Do nothing."""


def build_document(text: str) -> ManifestAndConfig:
    """Return a cache with one layer, as it is read from the service."""
    config = json.dumps({"layers": [LAYER | {"annotations": NOTES}], "text": text}).encode()
    return ManifestAndConfig(manifest=text.encode(), config=config)


def build_store(service: MemoryService, image: str = "o/n") -> GithubCache:
    """Return the caches of an image for a run of the default branch."""
    return GithubCache(image, service, (MAIN,), MAIN)


@pytest.mark.parametrize(
    ("address", "version"), [(V1, ServiceV1), (V2, ServiceV2), (V1 | V2, ServiceV2)], ids=["v1", "v2", "both"]
)
def test_connect_cache_service_version_is_that_of_the_environment(address: dict[str, str], version: type) -> None:
    """Choose version 2 where ACTIONS_CACHE_SERVICE_V2 asks for it, as buildx does."""
    store = connect_cache_service("o/n", {**address, "ACTIONS_RUNTIME_TOKEN": token(MAIN)})
    assert store is not None
    assert isinstance(store._service, version)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        V1,
        {"ACTIONS_RUNTIME_TOKEN": token(MAIN)},
        {**V1, "ACTIONS_RUNTIME_TOKEN": token(MAIN), "ACTIONS_CACHE_SERVICE_V2": "true"},
        {**V1, "ACTIONS_RUNTIME_TOKEN": "x"},
        {**V1, "ACTIONS_RUNTIME_TOKEN": "x.y.z"},
    ],
    ids=["nothing", "no-token", "no-address", "no-address-of-v2", "no-jwt", "no-claims"],
)
def test_connect_cache_service_without_token_or_address_is_none(environment: dict[str, str]) -> None:
    assert connect_cache_service("o/n", environment) is None


def test_push_manifest_under_a_tag_takes_the_next_number() -> None:
    service = MemoryService()
    store = build_store(service)
    store.push_manifest(build_document("one"), "cache-base")
    store.push_manifest(build_document("two"), "cache-base")
    assert [key[-2:] for key in service.entries] == ["#1", "#2"]


def test_read_manifest_of_tag_is_the_newest_of_the_nearest_ref() -> None:
    """Read the run's own git ref first, then the other ones of its token."""
    service = MemoryService()
    main = build_store(service)
    branch = GithubCache("o/n", service, (BRANCH, MAIN), BRANCH)
    main.push_manifest(build_document("one"), "cache-base")
    main.push_manifest(build_document("two"), "cache-base")
    manifest = branch.read_manifest("cache-base")
    assert manifest is not None
    config = config_digest(manifest)
    assert branch.read_blobs([config]) == {config: build_document("two").config}
    assert layer_sizes(manifest) == {LAYER["blob"]: 7}
    branch.push_manifest(build_document("own"), "cache-base")
    assert branch.read_manifest("cache-base") != manifest
    assert main.read_manifest("cache-base") == manifest


def test_read_manifest_of_digest_is_known_after_its_tag() -> None:
    service = MemoryService()
    store = build_store(service)
    store.push_manifest(build_document("one"), "cache-base")
    manifest = store.read_manifest("cache-base")
    assert manifest is not None
    digest = ManifestAndConfig(manifest=manifest, config=b"").digest
    assert store.read_manifest(digest) == manifest
    assert build_store(service).read_manifest(digest) is None


def test_read_manifest_of_another_image_is_missing() -> None:
    """Separate the images of a repository, for which GitHub has one cache."""
    service = MemoryService()
    build_store(service).push_manifest(build_document("one"), "cache-base")
    assert build_store(service, image="o/m").read_manifest("cache-base") is None


def test_read_blob_sizes_existing_blob_has_an_unknown_size() -> None:
    service = MemoryService({"buildkit-blob-1-sha256:a": b""})
    sizes = build_store(service).read_blob_sizes(["sha256:a", "sha256:b"])
    assert sizes == {"sha256:a": SIZE_UNKNOWN, "sha256:b": None}


def test_push_manifest_without_tag_is_saved_once_under_its_digest() -> None:
    """Give BuildKit one cache under the name, on every git ref."""
    service = MemoryService()
    store = build_store(service)
    digests = {store.push_manifest(build_document("one")) for _ in range(3)}
    assert len(service.entries) == 1
    (digest,) = digests
    assert store.import_source(digest, None) == f"o/n:composed-{digest[7:39]}"
    assert store.import_source(digest, "cache") == "o/n:cache"


def test_read_manifest_of_other_content_is_an_artifact() -> None:
    """Return the bytes of a ledger, which is saved under a tag too; as a cache they are not valid."""
    store = build_store(MemoryService())
    store.push_manifest(build_artifact(b"\xfd7zXZ", "application/x-ledger"), "cache-ledger")
    manifest = store.read_manifest("cache-ledger")
    assert manifest is not None
    assert list(store.read_blobs(layer_sizes(manifest)).values()) == [b"\xfd7zXZ"]
    with pytest.raises(InvalidCache):
        config_digest(manifest)


def test_read_manifest_of_config_with_infinite_size_is_an_artifact() -> None:
    """Refuse a number that JSON allows but no blob can have."""
    store = build_store(MemoryService())
    config = build_document("x").config.replace(b'"size": 7', b'"size": 1e999')
    store.push_manifest(ManifestAndConfig(manifest=b"changed", config=config), "cache-base")
    manifest = store.read_manifest("cache-base")
    assert manifest is not None
    with pytest.raises(InvalidCache):
        config_digest(manifest)


def test_push_manifest_token_without_the_right_is_an_error() -> None:
    read_only = GithubCache("o/n", MemoryService(), (MAIN,), None)
    with pytest.raises(RegistryError, match="may not write"):
        read_only.push_manifest(build_document("one"), "cache")


UNEXPECTED = {
    "page": HTML,
    "list": b"[]",
    "word": b'"ok"',
    "half": b'{"ok": true, "cacheKey": "x"}',
    "numbers": b'{"ok": true, "matched_key": 1, "signed_download_url": 2, "cacheKey": 1, "archiveLocation": 2}',
    "no-address": (
        b'{"ok": true, "matched_key": "x", "signed_download_url": "http://host:port",'
        b' "signed_upload_url": "http://host:port",'
        b' "cacheKey": "x", "archiveLocation": "http://host:port", "cacheId": "x"}'
    ),
}


@pytest.mark.parametrize("version", [ServiceV1, ServiceV2])
@pytest.mark.parametrize("body", UNEXPECTED.values(), ids=UNEXPECTED.keys())
def test_service_unexpected_response_is_an_error_with_hint(version: type[ServiceV1 | ServiceV2], body: bytes) -> None:
    """Fail as in an outage after a proxy's page, or JSON of another shape."""
    with answering(body) as url, closing(version(url, "token")) as service:
        store = GithubCache("o/n", service, (MAIN,), MAIN)
        (answer,) = store.read_manifests(["cache-base"]).values()
        assert isinstance(answer, RegistryError)
        with pytest.raises(RegistryError, match="gha: ") as caught:
            store.push_manifest(build_document("one"), "cache-base")
        assert caught.value.hint
        with pytest.raises(RegistryError, match="gha: ") as caught:
            service.save_entry("key", b"content")
        assert caught.value.hint


def test_read_manifest_address_that_is_not_valid_is_an_error() -> None:
    environment = {"ACTIONS_CACHE_URL": "http://host:port", "ACTIONS_RUNTIME_TOKEN": token(MAIN)}
    store = connect_cache_service("o/n", environment)
    assert store is not None
    with pytest.raises(RegistryError, match="gha: "):
        store.read_manifest("cache-base")


def test_push_manifest_unexpected_key_is_an_error() -> None:
    """Fail where the service finds a key without a number at its end: the next number is unknown."""
    service = MemoryService()
    store = build_store(service)
    store.push_manifest(build_document("one"), "cache-base")
    service.entries = {f"{key}a": content for key, content in service.entries.items()}
    with pytest.raises(RegistryError, match="gha: "):
        store.push_manifest(build_document("two"), "cache-base")


def test_push_manifest_number_of_another_run_is_skipped() -> None:
    """Take the next number where another run has written in the meantime; give up after five."""

    class BusyService(MemoryService):
        """Service in which other runs write the first numbers."""

        def save_entry(self, key: str, content: bytes) -> bool:
            return not key.endswith(taken) and super().save_entry(key, content)

    taken: tuple[str, ...] = ("#1", "#2")
    service = BusyService()
    build_store(service).push_manifest(build_document("one"), "cache-base")
    assert [key[-2:] for key in service.entries] == ["#3"]
    taken = ("#1", "#2", "#3", "#4", "#5")
    with pytest.raises(RegistryError, match="another run is writing"):
        build_store(BusyService()).push_manifest(build_document("one"), "cache-base")
