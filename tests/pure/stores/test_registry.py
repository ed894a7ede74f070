"""What a registry may answer, over real connections: storage behind it, wrong bytes, and what is no answer at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import ManifestAndConfig, build_artifact, config_digest, sha256_digest
from stagebake.cache.repository import SIZE_UNKNOWN
from stagebake.errors import RegistryError, RegistryUnreachable
from stagebake.stores.credentials import find_login
from stagebake.stores.registry import Registry
from tests.support.page import Answer, Asked, server

CONTENT = b"a blob"
DIGEST = sha256_digest(CONTENT)
CACHE = serialize_cache(CacheConfig())
CONFIG = sha256_digest(CACHE.config)


@contextmanager
def registry(answer: Callable[[Asked, bytes], Answer]) -> Iterator[Registry]:
    with server(answer) as host, closing(Registry(f"{host}/app")) as found:
        yield found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder, with no login in it."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def log_in(folder: Path, config: Any) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def encoded(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_blobs_in_a_storage_behind(status: int) -> None:
    """Where HEAD is redirected the blob is there in an untold size; GET is followed, and takes no token along.

    A storage refuses a request that has two ways to say who asks.
    """
    shown: list[str | None] = []

    def storage(asked: Asked, _body: bytes) -> Answer:
        shown.append(asked.headers.get("Authorization"))
        return 400 if shown[-1] else 200, {}, CONTENT

    def front(asked: Asked, _body: bytes) -> Answer:
        if asked.path.startswith("/token"):
            return 200, {}, b'{"token": "secret"}'
        if asked.headers.get("Authorization") != "Bearer secret":
            realm = f"http://{asked.headers['Host']}/token"
            return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}, b""
        return status, {"Location": f"http://{behind}/{DIGEST}?signed=1"}, b""

    with server(storage) as behind, registry(front) as found:
        assert found.read_blob_sizes([DIGEST]) == {DIGEST: SIZE_UNKNOWN}
        assert found.read_blobs([DIGEST]) == {DIGEST: CONTENT}
        assert found.read_blobs([DIGEST]) == {DIGEST: CONTENT}
    assert shown == [None, None]


def test_a_storage_is_not_shown_the_login(folder: Path) -> None:
    """A storage that asks who is there is a failure; it gets no password, and says not who shall."""
    shown: list[str] = []

    def storage(asked: Asked, _body: bytes) -> Answer:
        shown.append(str(asked.headers.get("Authorization")))
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{behind}/token"'}, b""

    with (
        server(storage) as behind,
        server(lambda *_: (307, {"Location": f"http://{behind}/blob"}, b"")) as host,
    ):
        log_in(folder, {"auths": {host: {"auth": encoded("user:word")}}})
        with closing(Registry(f"{host}/app")) as found:
            assert isinstance(found.read_blobs([DIGEST])[DIGEST], RegistryError)
    assert shown == ["None"]


def test_a_redirect_of_what_is_written_is_a_failure() -> None:
    """Only what is asked for may be elsewhere: a redirect without an address is no answer to a push."""
    with (
        registry(lambda asked, _: (404 if asked.command == "GET" else 307, {}, b"")) as found,
        pytest.raises(RegistryError, match="POST answered 307"),
    ):
        found.push_manifest(CACHE)


class Shelf:
    """A registry that keeps what it has, as registries do: a blob that lies there is not written again."""

    def __init__(self, blobs: dict[str, bytes]) -> None:
        self.blobs = blobs
        self.manifests: dict[str, bytes] = {}

    def __call__(self, asked: Asked, body: bytes) -> Answer:
        path, _, query = asked.path.partition("?")
        name = path.rpartition("/")[2]
        if asked.command == "POST":
            return 202, {"Location": "/upload"}, b""
        if path == "/upload":
            self.blobs.setdefault(parse_qs(query)["digest"][0], body)
            return 201, {}, b""
        if asked.command == "PUT":
            self.manifests[name] = body
            return 201, {}, b""
        return (200, {}, self.blobs[name]) if name in self.blobs else (404, {}, b"")


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def test_a_config_with_wrong_bytes_is_not_trusted() -> None:
    """As long as the right one, and not taken again: the cache is pushed with another blob that says the same."""
    stage_caches = Shelf({CONFIG: flipped(CACHE.config)})
    with registry(stage_caches) as found:
        digest = found.push_manifest(CACHE, "cache")
        assert digest == sha256_digest(stage_caches.manifests["cache"]) != CACHE.digest
        assert found.push_manifest(CACHE, "cache") == digest
    manifest = stage_caches.manifests["cache"]
    config = stage_caches.blobs[config_digest(manifest)]
    assert sha256_digest(config) == config_digest(manifest) != CONFIG
    assert json.loads(config) == json.loads(CACHE.config)
    assert parse_cache(manifest, config) == parse_cache(CACHE.manifest, CACHE.config)


def test_a_right_config_is_pushed_once() -> None:
    """What is there with the right bytes stays, and the cache keeps its digest."""
    stage_caches = Shelf({})
    with registry(stage_caches) as found:
        assert found.push_manifest(CACHE) == found.push_manifest(CACHE, "cache") == CACHE.digest
    assert stage_caches.blobs == {CONFIG: CACHE.config}


@pytest.mark.parametrize("document", [CACHE, build_artifact(b"\xfd7z", "application/x-ledger")])
def test_wrong_bytes_that_cannot_be_passed_by_are_told(document: ManifestAndConfig) -> None:
    """An artifact's bytes have one spelling; where a cache's second one is broken too, there is no third."""
    configs = (document.config, document.with_other_config().config)
    with (
        registry(Shelf({sha256_digest(config): flipped(config) for config in configs})) as found,
        pytest.raises(RegistryError, match="holds other bytes"),
    ):
        found.push_manifest(document)


@pytest.mark.parametrize(
    "headers", [{}, {"Location": "http://[::1/"}, {"Location": "/upload\x01"}], ids=["none", "bad-host", "control"]
)
def test_an_upload_that_leads_nowhere(headers: dict[str, str]) -> None:
    """Where to upload to is not said, or is no address: the registry's fault, in one line."""
    with (
        registry(lambda asked, _: (404, {}, b"") if asked.command == "GET" else (202, headers, b"")) as found,
        pytest.raises(RegistryError),
    ):
        found.push_manifest(CACHE)


@pytest.mark.parametrize("digest", ["sha256:\n", "sha256:\x7f", "sha256:\ud800"], ids=["newline", "delete", "half"])
def test_a_digest_that_no_address_can_hold(digest: str) -> None:
    """It is told of this one alone: the registry is there, and is asked for the others."""
    with registry(lambda *_: (200, {}, CONTENT)) as found:
        for answers in (found.read_blobs([digest, DIGEST]), found.read_blob_sizes([digest, DIGEST])):
            assert isinstance(answers[digest], RegistryError)
            assert not isinstance(answers[digest], RegistryUnreachable)
            assert not isinstance(answers[DIGEST], RegistryError)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"tags": 1}'], ids=bytes.decode)
def test_a_list_of_tags_that_is_none(body: bytes) -> None:
    """A page in the place of the list is the registry's fault, in one line."""
    with registry(lambda *_: (200, {}, body)) as found, pytest.raises(RegistryError, match="a list of tags"):
        found.list_versions()


@pytest.mark.parametrize(
    "config",
    [[], None, {"auths": None}, {"credHelpers": None}, {"auths": {"r.io": None}}, {"auths": {"r.io": {"auth": 3}}},
     {"auths": {"r.io": {"auth": "a"}}}, {"auths": {"r.io": {"auth": "/w=="}}}, {"auths": {"r.io": {}}}],
    ids=json.dumps,
)  # fmt: skip
def test_a_docker_config_that_is_none(folder: Path, config: Any) -> None:
    """Whatever stands in config.json, it is no login and no crash."""
    log_in(folder, config)
    assert find_login("r.io") is None


@pytest.mark.parametrize("key", ["r.io", "https://r.io", "http://r.io/v1/", "https://r.io/v2/", "r.io/v1/"])
def test_the_names_under_which_docker_finds_a_login(folder: Path, key: str) -> None:
    """An address stands for its host, as for docker."""
    log_in(folder, {"auths": {"other.io": {"auth": encoded("a:b")}, key: {"auth": encoded("user:pass:word")}}})
    assert find_login("r.io") == ("user", "pass:word")


def test_docker_hub_has_a_name_of_its_own(folder: Path) -> None:
    """Its login stands under the address that it once had."""
    log_in(folder, {"auths": {"https://index.docker.io/v1/": {"auth": encoded("user:word")}}})
    assert find_login("registry-1.docker.io") == ("user", "word")


def test_an_identity_token_is_exchanged(folder: Path) -> None:
    """It is sent as docker does, in a form and never as an empty password; the answer's token opens the registry."""
    forms: list[dict[str, list[str]]] = []

    def answer(asked: Asked, body: bytes) -> Answer:
        if asked.command == "POST":
            forms.append(parse_qs(body.decode()))
            return 200, {}, b'{"access_token": "opened"}'
        if asked.headers.get("Authorization") == "Bearer opened":
            return 200, {}, CONTENT
        realm = f"http://{asked.headers['Host']}/token"
        return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="repository:app:pull"'}, b""

    with server(answer) as host:
        log_in(folder, {"auths": {host: {"auth": encoded("user:"), "identitytoken": "mine"}}})
        with closing(Registry(f"{host}/app")) as found:
            assert found.read_blobs([DIGEST]) == {DIGEST: CONTENT}
    assert forms == [
        {
            "grant_type": ["refresh_token"],
            "client_id": ["stagebake"],
            "refresh_token": ["mine"],
            "service": ["s"],
            "scope": ["repository:app:pull"],
        }
    ]
