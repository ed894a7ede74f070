"""Test that a host to which no connection is made gets one attempt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import httpx
import pytest

from stagebake.http.unreached import REMEMBERED_SECONDS, UnreachedHosts
from stagebake.stores.registry import Registry

REFUSED = httpx.ConnectError("refused")
ADDRESS = "https://r.io"


class Attempts:
    """Requests that count how many of them connect; `error` is raised by each connection."""

    def __init__(self, error: Exception | None = REFUSED) -> None:
        self.count = 0
        self.seconds = 0.0
        self.error = error
        self.hosts = UnreachedHosts(lambda: self.seconds)

    def send_request(self, address: str = ADDRESS) -> None:
        with self.hosts.connect_once(address) as mark_connected:
            self.count += 1
            if self.error is not None:
                raise self.error
            mark_connected()

    def fail_request(self, address: str = ADDRESS) -> None:
        with pytest.raises(httpx.TransportError, match=str(self.error)):
            self.send_request(address)


@pytest.mark.parametrize("error", [REFUSED, httpx.ConnectTimeout("too slow")], ids=repr)
def test_connect_once_host_that_is_not_reached_gets_one_attempt(error: Exception) -> None:
    attempts = Attempts(error)
    for _ in range(3):
        attempts.fail_request()
    assert attempts.count == 1


def test_connect_once_other_port_or_scheme_is_another_host() -> None:
    attempts = Attempts()
    for address in (ADDRESS, "https://r.io:8443", "http://r.io", "https://s.io"):
        attempts.fail_request(address)
    assert attempts.count == 4


def test_connect_once_parallel_requests_share_one_attempt() -> None:
    """Let the other requests wait for the first one instead of trying at the same time."""
    attempts = Attempts()
    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(attempts.fail_request) for _ in range(64)]:
            done.result()
    assert attempts.count == 1


def test_connect_once_connected_requests_run_in_parallel() -> None:
    """Wait for the connection of the first request only, not for its response."""
    hosts = UnreachedHosts()
    all_running = Barrier(8, timeout=10)

    def send_request() -> None:
        with hosts.connect_once(ADDRESS) as mark_connected:
            mark_connected()
            all_running.wait()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(send_request) for _ in range(8)]:
            done.result()


@pytest.mark.parametrize("error", [httpx.ReadTimeout("silent"), httpx.ReadError("reset")], ids=repr)
def test_connect_once_failed_response_is_not_remembered(error: Exception) -> None:
    attempts = Attempts(error)
    for _ in range(3):
        attempts.fail_request()
    assert attempts.count == 3


def test_connect_once_tries_again_after_a_while() -> None:
    attempts = Attempts()
    attempts.fail_request()
    attempts.seconds = REMEMBERED_SECONDS
    attempts.error = None
    attempts.send_request()
    attempts.send_request()
    assert attempts.count == 3


def test_connect_once_host_that_is_lost_later_gets_one_attempt() -> None:
    attempts = Attempts(error=None)
    attempts.send_request()
    attempts.error = REFUSED
    for _ in range(3):
        attempts.fail_request()
    assert attempts.count == 2


def test_forget_hosts_gives_each_a_new_attempt() -> None:
    attempts = Attempts()
    attempts.fail_request()
    attempts.hosts.forget_hosts()
    attempts.fail_request()
    assert attempts.count == 2


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("Name or service not known"), httpx.ConnectTimeout("slow")], ids=repr
)
def test_registries_on_one_unreachable_host_connect_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Read base images, caches and ledger as plan does: each has a client of its own."""
    connected: list[str] = []

    def connect(_transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        connected.append(request.url.host)
        raise error

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", connect)
    monkeypatch.setattr("stagebake.http.client.engine_allows_http", lambda _host: False)
    for name in ("one", "two"):
        with closing(Registry(f"unknown.test/{name}")) as registry:
            registry.read_manifests(f"cache-{number}" for number in range(20))
            registry.read_blobs(["sha256:1", "sha256:2"])
    assert connected == ["unknown.test"]
