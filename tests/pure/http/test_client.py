"""Test the HTTP client: retries, error messages, the user agent, and requests in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
import stamina

from stagebake.errors import RegistryError, RegistryUnreachable
from stagebake.http.client import HttpClient, ServerInfo, fetch_all, read_error_text
from stagebake.http.transport import MAX_CONNECTIONS
from tests.support.page import HTML, Answer, Asked, server

INFO = ServerInfo(where="there", server="server", status_hint=lambda _: "status hint", address_hint="address hint")


@pytest.fixture(autouse=True)
def retry_at_once() -> Iterator[None]:
    """Retry as often as usual, but without waiting."""
    stamina.set_testing(True, attempts=4)
    yield
    stamina.set_testing(False)


@contextmanager
def client_of(answer: Callable[[Asked, bytes], Answer]) -> Iterator[HttpClient]:
    with server(answer) as host, closing(HttpClient(INFO, base_url=f"http://{host}/")) as client:
        yield client


@pytest.mark.parametrize("status", [429, 500, 503])
def test_send_temporary_status_is_retried(status: int) -> None:
    statuses = iter((status, status, 200))
    with client_of(lambda *_: (next(statuses), {}, b"found")) as client:
        assert client.send("GET", "path").content == b"found"


def test_send_any_status_with_retry_after_is_retried() -> None:
    """Repeat a request that GitHub limits with another status than 429."""
    statuses = iter((403, 200))
    with client_of(lambda *_: (next(statuses), {"Retry-After": "1"}, b"found")) as client:
        assert client.send("GET", "path").content == b"found"


def test_send_lasting_status_is_an_error_with_text_and_hint() -> None:
    asked: list[str] = []

    def refuse(request: Asked, _body: bytes) -> Answer:
        asked.append(request.path)
        return 403, {}, b'{"message": "no right"}'

    with client_of(refuse) as client, pytest.raises(RegistryError) as caught:
        client.send("DELETE", "path")
    assert caught.value.problem == "there: DELETE answered 403 (no right)"
    assert caught.value.hint == "status hint"
    assert asked == ["/path"]


def test_send_accepted_status_is_returned() -> None:
    with client_of(lambda *_: (404, {}, b"")) as client:
        assert client.send("GET", "path", accept=(404,)).status_code == 404


def test_send_closed_port_is_unreached() -> None:
    with server(lambda *_: (200, {}, b"")) as host:
        pass
    with closing(HttpClient(INFO)) as client, pytest.raises(RegistryUnreachable, match="there: server not reached"):
        client.send("GET", f"http://{host}/")


def test_send_address_that_is_not_valid_is_an_error_with_hint() -> None:
    with closing(HttpClient(INFO)) as client, pytest.raises(RegistryError, match="address not valid") as caught:
        client.send("GET", "http://host:port/")
    assert caught.value.hint == "address hint"


def test_send_names_stagebake_as_user_agent() -> None:
    agents: list[str] = []

    def answer(request: Asked, _body: bytes) -> Answer:
        agents.append(request.headers["User-Agent"])
        return 200, {}, b""

    with client_of(answer) as client:
        client.send("GET", "path")
    assert agents[0].startswith("stagebake/")


@pytest.mark.parametrize("body", [HTML, b"3", b"[]", b'{"name": 3}', b"{}"], ids=repr)
def test_parse_json_of_other_shape_is_an_error(body: bytes) -> None:
    with client_of(lambda *_: (200, {"Content-Type": "text/html"}, body)) as client:
        response = client.send("GET", "path")
        with pytest.raises(RegistryError) as caught:
            client.parse_json(response, lambda document: document["name"].upper())
    assert caught.value.problem == "there: unexpected response (200, text/html)"
    assert "proxy" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"message": "not found"}', "not found"),
        (b'{"errors": [{"code": "A", "message": "b"}, {"code": "C", "message": "d"}]}', "A: b; C: d"),
        (b'{"errors": [3]}', "Forbidden"),
        (b'"message"', "Forbidden"),
        (b"[]", "Forbidden"),
        (HTML, "Forbidden"),
    ],
)
def test_read_error_text_of_other_shape_is_the_reason_phrase(body: bytes, text: str) -> None:
    assert read_error_text(httpx.Response(403, content=body)) == text


def test_fetch_all_after_no_response_the_rest_is_not_fetched() -> None:
    """Give every remaining key the same error; after a refusal, fetch every key."""
    silent = RegistryUnreachable("silent", "wait")
    refused = RegistryError("refused", "log in")
    asked: list[str] = []

    def fetch(key: str) -> str:
        asked.append(key)
        raise silent if key.startswith("silent") else refused

    numbers = range(100)
    assert set(fetch_all(fetch, [f"silent {number}" for number in numbers]).values()) == {silent}
    assert len(asked) <= MAX_CONNECTIONS
    asked.clear()
    assert set(fetch_all(fetch, [f"refused {number}" for number in numbers]).values()) == {refused}
    assert len(asked) == len(numbers)


def test_fetch_all_repeated_keys_are_fetched_once_in_order() -> None:
    asked: list[str] = []

    def fetch(key: str) -> str:
        asked.append(key)
        return key.upper()

    answers = fetch_all(fetch, ["b", "a", "b"])
    assert list(answers.items()) == [("b", "B"), ("a", "A")]
    assert sorted(asked) == ["a", "b"]


def test_fetch_all_unexpected_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        fetch_all(lambda key: 1 // len(key), [""])
