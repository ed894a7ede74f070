"""Test that the tests' servers notice a login that belongs to another registry."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError

import httpx
import pytest

from tests.conftest import fail_on_leaks
from tests.support.canary import CANARY_USER, LEAKS, LeakDetector, canary_login, canary_secret
from tests.support.packages import Packages
from tests.support.page import server
from tests.support.proxy import Proxy
from tests.support.results import ResultsService
from tests.support.shop import Shop

TESTS = Path(__file__).parents[2]
OWNER = "127.0.0.1:5000"
OTHER = 5001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", f"Basic {canary_login(OWNER)}"),
        ("authorization", f"basic {canary_login(OWNER)}"),
        ("Authorization", f"Bearer {canary_secret(OWNER)}"),
        ("X-Registry-Auth", canary_secret(OWNER)),
        ("Cookie", f"token={canary_secret(OWNER)}"),
    ],
)
def test_check_request_login_of_another_registry_is_a_leak(name: str, value: str) -> None:
    detector = LeakDetector()
    detector.check_request(5000, "GET /v2/", [(name, value)])
    assert detector.take_leaks() == []
    detector.check_request(OTHER, "GET /v2/", [(name, value)])
    assert detector.take_leaks() == ["GET /v2/ at port 5001 shows the login of the registry at port 5000"]
    assert detector.take_leaks() == []


def test_check_request_login_in_address_or_body_is_a_leak() -> None:
    detector = LeakDetector()
    detector.check_request(OTHER, f"GET /?password={canary_secret(OWNER)}", [])
    detector.check_request(OTHER, "POST /token", [], f"refresh_token={canary_secret(OWNER)}".encode())
    assert len(detector.take_leaks()) == 2


def test_check_request_token_service_may_receive_the_login() -> None:
    detector = LeakDetector()
    detector.allow_token_service(OWNER, f"127.0.0.1:{OTHER}")
    for port in (OTHER, 5002):
        detector.check_request(port, "GET /token", [("Authorization", f"Basic {canary_login(OWNER)}")])
    assert detector.take_leaks() == ["GET /token at port 5002 shows the login of the registry at port 5000"]


def test_check_request_other_logins_and_the_engine_are_no_leak() -> None:
    detector = LeakDetector()
    login = ("Authorization", f"Basic {canary_login(OWNER)}")
    detector.check_request(OTHER, "GET /", [("Authorization", "Basic bWU6cmlnaHQ="), ("Cookie", "Basic ===")])
    detector.check_request(OTHER, "GET /", [("User-Agent", "containerd/2.0"), login])
    assert detector.take_leaks() == []
    detector.check_request(OTHER, "GET /", [("User-Agent", "stagebake/1.0"), login])
    assert len(detector.take_leaks()) == 1


@contextmanager
def run_shop() -> Iterator[str]:
    shop = Shop()
    try:
        yield shop.url
    finally:
        shop.stop()


@contextmanager
def run_results() -> Iterator[str]:
    service = ResultsService()
    try:
        yield service.url
    finally:
        service.stop()


@contextmanager
def run_packages() -> Iterator[str]:
    with Packages("users", "owner", {}) as packages:
        yield packages.url
        packages.wrong.clear()


@contextmanager
def run_page() -> Iterator[str]:
    with server(lambda *_: (200, {}, b"")) as host:
        yield f"http://{host}"


@contextmanager
def run_proxy() -> Iterator[str]:
    with server(lambda *_: (200, {}, b"")) as upstream:
        proxy = Proxy(int(upstream.rpartition(":")[2]))
        try:
            yield f"http://127.0.0.1:{proxy.port}"
        finally:
            proxy.stop()


@pytest.mark.parametrize("run", [run_page, run_proxy, run_packages, run_results, run_shop])
def test_server_that_receives_the_login_of_another_registry_fails_the_test(
    run: Callable[[], AbstractContextManager[str]],
) -> None:
    with run() as url:
        request = urllib.request.Request(f"{url}/", headers={"Authorization": f"Basic {canary_login(OWNER)}"})
        with suppress(HTTPError, ConnectionError):
            urllib.request.urlopen(request).close()
    with pytest.raises(pytest.fail.Exception, match="shows the login of the registry at port 5000"):
        fail_on_leaks()


def test_client_that_takes_its_login_along_fails_the_test() -> None:
    """Follow the address of an upload as httpx does by itself."""
    with server(lambda *_: (200, {}, b"")) as storage, server(lambda *_: (202, {"Location": storage}, b"")) as host:
        with httpx.Client(auth=(CANARY_USER, canary_secret(host)), trust_env=False) as client:
            location = client.post(f"http://{host}/").headers["Location"]
            assert LEAKS.leaks == []
            client.put(f"http://{location}/upload")
        leaks = LEAKS.take_leaks()
    assert len(leaks) == 1
    assert leaks[0].startswith("PUT /upload at port")


def test_every_server_of_the_tests_checks_its_requests() -> None:
    direct = []
    for path in TESTS.rglob("*.py"):
        if path.name == "canary.py" or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        if "HTTPRequestHandler)" in text or "http.server.test" in text or "wsgiref" in text:
            direct.append(path.name)
    assert direct == []
