"""GitHub's cache service, without one: who may reach it, and what its entries stand for."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, build_artifact, config_digest, layer_sizes
from stagebake.errors import RegistryError
from stagebake.stores.github_cache import GithubCache, ServiceEntry, ServiceV1, ServiceV2, connect_cache_service
from tests.support.page import HTML, answering
from tests.support.service import token

MAIN, BRANCH = "refs/heads/main", "refs/heads/feature"
V1 = {"ACTIONS_CACHE_URL": "http://127.0.0.1:1/"}
V2 = {"ACTIONS_CACHE_SERVICE_V2": "True", "ACTIONS_RESULTS_URL": "http://127.0.0.1:1/"}
LAYER = {"blob": "sha256:" + "a" * 64, "parent": -1}
NOTES = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 7, "diffID": "sha256:" + "b" * 64}


@dataclass
class Entries:
    """A service in memory, for one version of keys."""

    entries: dict[str, bytes] = field(default_factory=dict)

    def find_entry(self, prefix: str) -> ServiceEntry | None:
        found = [key for key in self.entries if key.startswith(prefix)]
        return ServiceEntry(key=found[-1], url=found[-1]) if found else None

    def read_entry(self, url: str) -> bytes:
        return self.entries[url]

    def save_entry(self, key: str, content: bytes) -> bool:
        return self.entries.setdefault(key, content) is content

    def close(self) -> None:
        """There is nothing to close."""


def cache(text: str) -> ManifestAndConfig:
    """A cache with one layer, as it was read from the service."""
    config = json.dumps({"layers": [LAYER | {"annotations": NOTES}], "text": text}).encode()
    return ManifestAndConfig(manifest=text.encode(), config=config)


def test_the_environment_says_which_version_of_the_service_there_is() -> None:
    """As for buildx: version 2 where ACTIONS_CACHE_SERVICE_V2 says so, else version 1."""
    for way, kind in ((V1, ServiceV1), (V2, ServiceV2), (V1 | V2, ServiceV2)):
        found = connect_cache_service("o/n", {**way, "ACTIONS_RUNTIME_TOKEN": token(MAIN)})
        assert found is not None
        assert isinstance(found._service, kind)


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
def test_without_a_way_there_are_no_caches(environment: dict[str, str]) -> None:
    """Where the token or the address is missing or is none, there is nothing to ask."""
    assert connect_cache_service("o/n", environment) is None


def test_a_tag_stands_for_the_newest_entry_of_the_nearest_ref() -> None:
    """A run reads its own ref's index first, then those that its token names; saving makes the next number."""
    entries = Entries()
    main = GithubCache("o/n", entries, (MAIN,), MAIN)
    branch = GithubCache("o/n", entries, (BRANCH, MAIN), BRANCH)
    main.push_manifest(cache("one"), "cache-base")
    main.push_manifest(cache("two"), "cache-base")
    assert [key[-2:] for key in entries.entries] == ["#1", "#2"]
    manifest = branch.read_manifest("cache-base")
    assert manifest is not None
    assert branch.read_blobs([config_digest(manifest)]) == {config_digest(manifest): cache("two").config}
    assert layer_sizes(manifest) == {LAYER["blob"]: 7}
    branch.push_manifest(cache("own"), "cache-base")
    assert branch.read_manifest("cache-base") != main.read_manifest("cache-base") == manifest


def test_two_images_of_a_repository_do_not_meet() -> None:
    """The image is a part of the key: GitHub has one cache for all images of a repository."""
    entries = Entries()
    GithubCache("o/n", entries, (MAIN,), MAIN).push_manifest(cache("one"), "cache-base")
    assert GithubCache("o/m", entries, (MAIN,), MAIN).read_manifest("cache-base") is None


def test_what_a_build_reads_is_called_by_its_digest() -> None:
    """So BuildKit finds one cache under the name on all refs. It is saved once, however often it is put."""
    entries = Entries()
    store = GithubCache("o/n", entries, (MAIN,), MAIN)
    for _ in range(3):
        digest = store.push_manifest(cache("one"))
    assert len(entries.entries) == 1
    assert store.import_source(digest, None) == f"o/n:composed-{digest[7:39]}"
    assert store.import_source(digest, "cache") == "o/n:cache"


def test_what_is_no_cache_comes_back_as_an_artifact() -> None:
    """A ledger's bytes are kept under a tag too; as a cache they are refused."""
    store = GithubCache("o/n", Entries(), (MAIN,), MAIN)
    store.push_manifest(build_artifact(b"\xfd7zXZ", "application/x-ledger"), "cache-ledger")
    manifest = store.read_manifest("cache-ledger")
    assert manifest is not None
    assert list(store.read_blobs(layer_sizes(manifest)).values()) == [b"\xfd7zXZ"]
    with pytest.raises(InvalidCache):
        config_digest(manifest)


def test_a_size_that_no_blob_has_makes_no_cache() -> None:
    """An infinite size is JSON: the entry is an artifact of which nothing is known."""
    entries = Entries()
    store = GithubCache("o/n", entries, (MAIN,), MAIN)
    odd = ManifestAndConfig(manifest=b"odd", config=cache("x").config.replace(b'"size": 7', b'"size": 1e999'))
    store.push_manifest(odd, "cache-base")
    manifest = store.read_manifest("cache-base")
    assert manifest is not None
    with pytest.raises(InvalidCache):
        config_digest(manifest)


def test_a_run_that_may_not_write_says_so() -> None:
    """A token without the right to write is refused before anything is asked."""
    with pytest.raises(RegistryError, match="may not write"):
        GithubCache("o/n", Entries(), (MAIN,), None).push_manifest(cache("one"), "cache")


ODD = {
    "page": HTML,
    "list": b"[]",
    "word": b'"ok"',
    "half": b'{"ok": true, "cacheKey": "x"}',
    "numbers": b'{"ok": true, "matched_key": 1, "signed_download_url": 2, "cacheKey": 1, "archiveLocation": 2}',
    "no-address": (
        b'{"ok": true, "matched_key": "x", "signed_download_url": "http://host:port", "signed_upload_url": "http://host:port",'
        b' "cacheKey": "x", "archiveLocation": "http://host:port", "cacheId": "x"}'
    ),
}


@pytest.mark.parametrize("version", [ServiceV1, ServiceV2])
@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
def test_an_answer_that_is_none_is_an_outage(version: type[ServiceV1 | ServiceV2], body: bytes) -> None:
    """A proxy's page, or JSON of another shape: reading and saving end in the error that an outage ends in."""
    with answering(body) as url, closing(version(url, "token")) as service:
        store = GithubCache("o/n", service, (MAIN,), MAIN)
        (read,) = store.read_manifests(["cache-base"]).values()
        assert isinstance(read, RegistryError)
        for save in (
            lambda: store.push_manifest(cache("one"), "cache-base"),
            lambda: service.save_entry("key", b"content"),
        ):
            with pytest.raises(RegistryError, match="gha: ") as caught:
                save()
            assert caught.value.remedy


def test_an_address_that_is_none_is_an_outage() -> None:
    """What the environment names is asked, or said to be no address."""
    found = connect_cache_service(
        "o/n", {"ACTIONS_CACHE_URL": "http://host:port", "ACTIONS_RUNTIME_TOKEN": token(MAIN)}
    )
    assert found is not None
    with pytest.raises(RegistryError, match="gha: "):
        found.read_manifest("cache-base")


def test_an_entry_that_was_not_asked_for_is_not_counted_on() -> None:
    """Where the service finds another key than one that begins so and ends in a number, there is no next number."""
    entries = Entries()
    store = GithubCache("o/n", entries, (MAIN,), MAIN)
    store.push_manifest(cache("one"), "cache-base")
    entries.entries = {f"{key}a": content for key, content in entries.entries.items()}
    with pytest.raises(RegistryError, match="gha: "):
        store.push_manifest(cache("two"), "cache-base")
