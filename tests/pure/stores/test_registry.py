"""Test requests to a registry over real connections: storage behind it, wrong bytes, unexpected responses."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from stagebake.cache.backends import SIZE_UNKNOWN
from stagebake.cache.cache_config import CacheConfig, parse_cache, serialize_cache
from stagebake.cache.manifest import ManifestAndConfig, build_artifact, config_digest, sha256_digest
from stagebake.errors import CorruptBlob, RegistryError, RegistryUnreachable
from stagebake.stores.registry import Registry
from tests.support.canary import canary_login, canary_secret
from tests.support.page import Answer, Asked, server

CONTENT = b"a blob"
DIGEST = sha256_digest(CONTENT)
CACHE = serialize_cache(CacheConfig())
CONFIG = sha256_digest(CACHE.config)


@contextmanager
def serve_registry(
    answer: Callable[[Asked, bytes], Answer], clock: Callable[[], float] = time.time
) -> Iterator[Registry]:
    """Yield the registry that answers like this. Its login is a canary, which no other server may receive."""
    with server(answer) as host:
        log_in(Path(os.environ["DOCKER_CONFIG"]), host, canary_login(host))
        with closing(Registry(f"{host}/app", clock)) as registry:
            yield registry


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide docker's folder, without a login in it."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def log_in(folder: Path, host: str, auth: str, **more: str) -> None:
    config = {"auths": {host: {"auth": auth, **more}}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def require_token(asked: Asked, parameters: str = 'service="s"') -> Answer:
    """Answer as a registry that requests a bearer token."""
    realm = f"http://{asked.headers['Host']}/token"
    return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",{parameters}'}, b""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_read_blobs_redirect_to_storage_is_followed_without_the_token(status: int) -> None:
    """Report an unknown size for a redirected HEAD. A storage server refuses requests with a second authentication."""
    shown: list[str | None] = []

    def answer_storage(asked: Asked, _body: bytes) -> Answer:
        authorization = asked.headers.get("Authorization")
        shown.append(authorization)
        return 400 if authorization else 200, {}, CONTENT

    def answer_registry(asked: Asked, _body: bytes) -> Answer:
        if asked.path.startswith("/token"):
            return 200, {}, json.dumps({"token": canary_secret(asked.headers["Host"])}).encode()
        if asked.headers.get("Authorization") != f"Bearer {canary_secret(asked.headers['Host'])}":
            return require_token(asked)
        return status, {"Location": f"http://{storage}/{DIGEST}?signed=1"}, b""

    with server(answer_storage) as storage, serve_registry(answer_registry) as registry:
        assert registry.read_blob_sizes([DIGEST]) == {DIGEST: SIZE_UNKNOWN}
        assert registry.read_blobs([DIGEST]) == {DIGEST: CONTENT}
        assert registry.read_blobs([DIGEST]) == {DIGEST: CONTENT}
    assert shown == [None, None]


def test_read_blobs_storage_that_requests_a_login_gets_none(config_folder: Path) -> None:
    """Fail instead of showing the login to a server that the storage names."""
    shown: list[str] = []

    def answer_storage(asked: Asked, _body: bytes) -> Answer:
        shown.append(str(asked.headers.get("Authorization")))
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{storage}/token"'}, b""

    def redirect(_asked: Asked, _body: bytes) -> Answer:
        return 307, {"Location": f"http://{storage}/blob"}, b""

    with server(answer_storage) as storage, server(redirect) as host:
        log_in(config_folder, host, canary_login(host))
        with closing(Registry(f"{host}/app")) as registry:
            assert isinstance(registry.read_blobs([DIGEST])[DIGEST], RegistryError)
    assert shown == ["None"]


@pytest.mark.parametrize("status", [401, 403])
def test_send_refused_request_hints_at_the_login_of_the_host_with_its_port(status: int) -> None:
    with (
        server(lambda *_: (status, {}, b"")) as host,
        closing(Registry(f"{host}/app")) as registry,
        pytest.raises(RegistryError) as caught,
    ):
        registry.read_manifest("latest")
    assert caught.value.hint.startswith(f"log in: docker login {host}; ")


def require_basic(asked: Asked) -> Answer | None:
    """Answer as a registry that requires a `Basic` login; None for a request that has it."""
    if asked.headers.get("Authorization") == f"Basic {canary_login(asked.headers['Host'])}":
        return None
    return 401, {"WWW-Authenticate": 'Basic realm="tests"'}, b""


def test_push_manifest_upload_to_another_host_gets_no_login() -> None:
    """Upload where the registry says, as to a storage behind it with a signed address."""
    uploaded: list[str] = []

    def answer_storage(asked: Asked, _body: bytes) -> Answer:
        uploaded.append(f"{asked.command} {asked.path.partition('?')[0]}")
        return 400 if "Authorization" in asked.headers else 201, {}, b""

    def answer_registry(asked: Asked, _body: bytes) -> Answer:
        location = {"Location": f"http://{storage}/signed"} if asked.command == "POST" else {}
        statuses = {"GET": 404, "POST": 202, "PUT": 201}
        return require_basic(asked) or (statuses[asked.command], location, b"")

    with server(answer_storage) as storage, serve_registry(answer_registry) as registry:
        assert registry.push_manifest(CACHE, "cache") == CACHE.digest
    assert uploaded == ["PUT /signed"]


def test_list_versions_next_page_at_another_host_gets_no_login() -> None:
    asked_there: list[str] = []

    def answer_other(asked: Asked, _body: bytes) -> Answer:
        asked_there.append(asked.path)
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{other}/token"'}, b""

    def answer_registry(asked: Asked, _body: bytes) -> Answer:
        next_page = {"Link": f'<http://{other}/tags>; rel="next"'}
        return require_basic(asked) or (200, next_page, b'{"tags": []}')

    with (
        server(answer_other) as other,
        serve_registry(answer_registry) as registry,
        pytest.raises(RegistryError, match="GET answered 401"),
    ):
        registry.list_versions()
    assert asked_there == ["/tags"]


def test_push_manifest_redirect_without_address_is_an_error() -> None:
    def answer(asked: Asked, _body: bytes) -> Answer:
        return 404 if asked.command == "GET" else 307, {}, b""

    with serve_registry(answer) as registry, pytest.raises(RegistryError, match="POST answered 307"):
        registry.push_manifest(CACHE)


class MemoryRegistry:
    """Registry in memory. As real ones do, it does not write a blob again that it has."""

    def __init__(self, blobs: dict[str, bytes]) -> None:
        self.blobs = blobs
        self.manifests: dict[str, bytes] = {}

    def __call__(self, asked: Asked, body: bytes) -> Answer:
        path, _, query = asked.path.partition("?")
        name = path.rpartition("/")[2]
        if asked.command == "POST":
            return 202, {"Location": "/upload"}, b""
        if path == "/upload":
            digest = parse_qs(query)["digest"][0]
            self.blobs.setdefault(digest, body)
            return 201, {}, b""
        if asked.command == "PUT":
            self.manifests[name] = body
            return 201, {}, b""
        return (200, {}, self.blobs[name]) if name in self.blobs else (404, {}, b"")


def flip_bit(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def test_push_manifest_existing_config_with_wrong_bytes_gets_another_spelling() -> None:
    """Push the same cache with another config blob, and the same one again next time."""
    memory = MemoryRegistry({CONFIG: flip_bit(CACHE.config)})
    with serve_registry(memory) as registry:
        digest = registry.push_manifest(CACHE, "cache")
        assert digest == sha256_digest(memory.manifests["cache"]) != CACHE.digest
        assert registry.push_manifest(CACHE, "cache") == digest
    manifest = memory.manifests["cache"]
    config = memory.blobs[config_digest(manifest)]
    assert sha256_digest(config) == config_digest(manifest) != CONFIG
    assert json.loads(config) == json.loads(CACHE.config)
    assert parse_cache(manifest, config) == parse_cache(CACHE.manifest, CACHE.config)


def test_push_manifest_existing_config_is_not_pushed_again() -> None:
    memory = MemoryRegistry({})
    with serve_registry(memory) as registry:
        assert registry.push_manifest(CACHE) != CACHE.digest
        assert registry.push_manifest(CACHE, "cache") == CACHE.digest
    assert memory.blobs == {CONFIG: CACHE.config}


def test_push_manifest_without_tag_is_new_each_day() -> None:
    """Push what a build imports again each day, so that its age tells whether a build may still read it."""
    memory, seconds = MemoryRegistry({}), [0.0]
    with serve_registry(memory, clock=lambda: seconds[0]) as registry:
        first = registry.push_manifest(CACHE)
        seconds[0] = 86_399.0
        assert registry.push_manifest(CACHE) == first
        seconds[0] = 86_400.0
        second = registry.push_manifest(CACHE)
    assert second != first
    for digest in (first, second):
        manifest = memory.manifests[digest]
        assert sha256_digest(manifest) == digest
        assert parse_cache(manifest, CACHE.config) == parse_cache(CACHE.manifest, CACHE.config)


@pytest.mark.parametrize("document", [CACHE, build_artifact(b"\xfd7z", "application/x-ledger")])
def test_push_manifest_every_spelling_with_wrong_bytes_is_an_error(document: ManifestAndConfig) -> None:
    """Fail where both spellings of a cache are broken, or the only one of an artifact."""
    configs = (document.config, document.with_other_config().config)
    broken = {sha256_digest(config): flip_bit(config) for config in configs}
    with serve_registry(MemoryRegistry(broken)) as registry, pytest.raises(RegistryError, match="holds other bytes"):
        registry.push_manifest(document)


@pytest.mark.parametrize(
    "headers", [{}, {"Location": "http://[::1/"}, {"Location": "/upload\x01"}], ids=["none", "bad-host", "control"]
)
def test_push_manifest_without_valid_upload_address_is_an_error(headers: dict[str, str]) -> None:
    def answer(asked: Asked, _body: bytes) -> Answer:
        return (404, {}, b"") if asked.command == "GET" else (202, headers, b"")

    with serve_registry(answer) as registry, pytest.raises(RegistryError):
        registry.push_manifest(CACHE)


@pytest.mark.parametrize("digest", ["sha256:\n", "sha256:\x7f", "sha256:\ud800"], ids=["newline", "delete", "half"])
def test_read_blobs_digest_that_no_url_can_hold_fails_alone(digest: str) -> None:
    """Do not take the registry for unreached: the other digests are still read."""
    with serve_registry(lambda *_: (200, {}, CONTENT)) as registry:
        for answers in (registry.read_blobs([digest, DIGEST]), registry.read_blob_sizes([digest, DIGEST])):
            assert isinstance(answers[digest], RegistryError)
            assert not isinstance(answers[digest], RegistryUnreachable)
            assert not isinstance(answers[DIGEST], RegistryError)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"tags": 1}'], ids=bytes.decode)
def test_list_versions_tags_of_other_shape_are_an_error(body: bytes) -> None:
    with (
        serve_registry(lambda *_: (200, {}, body)) as registry,
        pytest.raises(RegistryError, match="a list of tags"),
    ):
        registry.list_versions()


def test_list_versions_groups_the_tags_of_all_pages_by_digest() -> None:
    digests = {"a": "sha256:1", "b": "sha256:2", "c": "sha256:1"}

    def answer(asked: Asked, _body: bytes) -> Answer:
        if asked.path == "/v2/app/tags/list":
            return 200, {"Link": '</v2/app/tags/list?last=b>; rel="next"'}, b'{"tags": ["a", "b"]}'
        if asked.path.startswith("/v2/app/tags/list?last="):
            return 200, {}, b'{"tags": ["c"]}'
        return 200, {"Docker-Content-Digest": digests[asked.path.rpartition("/")[2]]}, b""

    with serve_registry(answer) as registry:
        tags = {version.key: set(version.tags) for version in registry.list_versions()}
    assert tags == {"sha256:1": {"a", "c"}, "sha256:2": {"b"}}


def test_send_identity_token_is_exchanged_for_a_bearer_token(config_folder: Path) -> None:
    """Send the identity token in a form, as docker does, and never as an empty password."""
    forms: list[dict[str, list[str]]] = []

    def answer(asked: Asked, body: bytes) -> Answer:
        if asked.command == "POST":
            forms.append(parse_qs(body.decode()))
            return 200, {}, b'{"access_token": "opened"}'
        if asked.headers.get("Authorization") == "Bearer opened":
            return 200, {}, CONTENT
        return require_token(asked, 'service="s",scope="repository:app:pull"')

    with server(answer) as host:
        log_in(config_folder, host, canary_login(host), identitytoken=canary_secret(host))
        with closing(Registry(f"{host}/app")) as registry:
            assert registry.read_blobs([DIGEST]) == {DIGEST: CONTENT}
    expected: dict[str, Any] = {
        "grant_type": ["refresh_token"],
        "client_id": ["stagebake"],
        "refresh_token": [canary_secret(host)],
        "service": ["s"],
        "scope": ["repository:app:pull"],
    }
    assert forms == [expected]


@pytest.mark.parametrize("size", ["0", None])
def test_read_blob_sizes_wrong_or_missing_length_is_unknown(size: str | None) -> None:
    """Accept a proxy that answers HEAD without the length of the blob, or with 0."""

    def answer(asked: Asked, _body: bytes) -> Answer:
        if asked.command == "HEAD":
            return 200, {"Content-Length": size} if size else {"Transfer-Encoding": "chunked"}, b""
        return 200, {}, CONTENT

    with serve_registry(answer) as registry:
        assert registry.read_blob_sizes([DIGEST]) == {DIGEST: SIZE_UNKNOWN}


@pytest.mark.parametrize("status", [200, 416])
def test_read_blob_sizes_emptied_blob_has_size_zero(status: int) -> None:
    """Read the first byte, to distinguish a blob that lost its bytes from one whose length is missing."""

    def answer(asked: Asked, _body: bytes) -> Answer:
        return 200 if asked.command == "HEAD" else status, {}, b""

    with serve_registry(answer) as registry:
        assert registry.read_blob_sizes([DIGEST]) == {DIGEST: 0}


def test_read_digest_without_the_header_is_that_of_the_manifest() -> None:
    with serve_registry(lambda asked, _: (200, {}, b"" if asked.command == "HEAD" else CONTENT)) as registry:
        assert registry.read_digest("latest") == DIGEST


def test_read_blobs_wrong_bytes_are_corrupt() -> None:
    """The digest is the name of the content: other bytes under it are never used."""
    with serve_registry(lambda _asked, _body: (200, {}, b"other bytes")) as registry:
        assert isinstance(registry.read_blobs([DIGEST])[DIGEST], CorruptBlob)
