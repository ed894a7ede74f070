"""Test that the login goes to the registry's host and its token service, for each challenge that docker answers."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx
import pytest

from stagebake.http.credentials import Login
from stagebake.http.registry_auth import Challenge, RegistryAuth, parse_challenges

BASE = "https://r.io/v2/app/"
LOGIN = Login(user="me", password="right")
BASIC = f"Basic {base64.b64encode(b'me:right').decode()}"
TOKEN = 'Bearer realm="https://auth.r.io/token",service="s"'
READ, WRITE = ("GET", "manifests/x"), ("PUT", "manifests/x")
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.mark.parametrize(
    ("header", "schemes"),
    [
        ("", []),
        ("Basic", ["basic"]),
        ('Basic realm="x"', ["basic"]),
        ('BASIC realm="x"', ["basic"]),
        (f'Basic realm="x", {TOKEN}', ["basic", "bearer"]),
        (f'{TOKEN}, Basic realm="a, Bearer b"', ["bearer", "basic"]),
        ('Negotiate, Basic realm="x"', ["negotiate", "basic"]),
        ("Unknown x=y", []),
    ],
)
def test_parse_challenges_one_or_more_in_a_header(header: str, schemes: list[str]) -> None:
    assert [challenge.scheme for challenge in parse_challenges(header)] == schemes


def test_parse_challenges_reads_quoted_and_plain_parameters() -> None:
    header = 'Bearer realm="https://a/t?x=1,2",service=s, scope="repository:a:pull,push"'
    parameters = {"realm": "https://a/t?x=1,2", "service": "s", "scope": "repository:a:pull,push"}
    assert parse_challenges(header) == [Challenge(scheme="bearer", parameters=parameters)]


def seen_by(login: Login | None, answer: Handler, *requests: tuple[str, str]) -> list[httpx.Request]:
    """Send these requests (method and URL) with one client; return every request that was made for them."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer(request)

    client = httpx.Client(
        base_url=BASE,
        auth=RegistryAuth(BASE, "app", login),
        transport=httpx.MockTransport(handle),
        follow_redirects=True,
    )
    with client:
        for method, url in requests:
            client.request(method, url)
    return seen


def challenge(header: str, *, location: str | None = None) -> Handler:
    """Answer as a registry that wants this login, with a token service at auth.r.io and a storage at storage.io."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.r.io":
            return httpx.Response(200, json={"token": "opened"})
        if request.url.host != "r.io":
            return httpx.Response(401, headers={"WWW-Authenticate": header})
        if "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": header})
        return httpx.Response(307, headers={"Location": location}) if location else httpx.Response(200)

    return answer


@pytest.mark.parametrize(
    ("header", "login", "sent"),
    [
        ('Basic realm="x"', LOGIN, BASIC),
        (f'Basic realm="x", {TOKEN}', LOGIN, "Bearer opened"),
        (TOKEN, LOGIN, "Bearer opened"),
        (TOKEN, None, "Bearer opened"),
        (TOKEN, Login(identity_token="i"), "Bearer opened"),
        (TOKEN, Login(registry_token="mine"), "Bearer mine"),
        ('Basic realm="x"', Login(registry_token="mine"), "Bearer mine"),
        ('Basic realm="x"', Login(identity_token="i"), None),
        ('Basic realm="x"', Login(problem="helper failed"), None),
        ('Basic realm="x"', Login(user="me", password="\udce9"), "Basic bWU66Q=="),
        ("Bearer", LOGIN, None),
        ('Bearer, Basic realm="x"', LOGIN, BASIC),
        ('Basic realm="x"', None, None),
        ("Negotiate", LOGIN, None),
    ],
)
def test_auth_flow_answers_what_docker_answers(header: str, login: Login | None, sent: str | None) -> None:
    assert seen_by(login, challenge(header), READ)[-1].headers.get("Authorization") == sent


@pytest.mark.parametrize(("method", "actions"), [("GET", "pull"), ("PUT", "pull,push")])
def test_auth_flow_challenge_without_scope_asks_for_the_repository(method: str, actions: str) -> None:
    token_request = seen_by(LOGIN, challenge(TOKEN), (method, "manifests/x"))[1]
    assert dict(token_request.url.params) == {"service": "s", "scope": f"repository:app:{actions}"}
    assert token_request.headers["Authorization"] == BASIC


OTHERS = (
    "https://storage.io/upload?signature=1",
    "https://sub.r.io/v2/app/blobs/uploads/1",
    "https://r.io:8443/v2/app/blobs/uploads/1",
    "http://r.io/v2/app/blobs/uploads/1",
    "https://r.io.evil.example/v2/",
    "https://me@storage.io/v2/",
)


@pytest.mark.parametrize("header", ['Basic realm="x"', TOKEN])
@pytest.mark.parametrize("elsewhere", OTHERS)
@pytest.mark.parametrize("kind", ["address", "redirect"])
def test_auth_flow_another_host_never_sees_the_login(kind: str, elsewhere: str, header: str) -> None:
    """Neither an upload address or next page, nor a redirect, nor that host's own challenge gets it."""
    if kind == "address":
        seen = seen_by(LOGIN, challenge(header), READ, WRITE, ("GET", elsewhere), ("PUT", elsewhere))
    else:
        seen = seen_by(LOGIN, challenge(header, location=elsewhere), READ, READ)
    own = {("https", "r.io", None), ("https", "auth.r.io", None)}
    others = [request for request in seen if (request.url.scheme, request.url.host, request.url.port) not in own]
    assert others
    assert not [request.url for request in others if BASIC in request.headers.get("Authorization", "")]
    assert not [request.url for request in others if "opened" in request.headers.get("Authorization", "")]


def test_auth_flow_header_is_stored_for_reads_and_for_writes() -> None:
    seen: list[str | None] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        return challenge('Basic realm="x"')(request)

    with httpx.Client(
        base_url=BASE, auth=RegistryAuth(BASE, "app", LOGIN), transport=httpx.MockTransport(handle)
    ) as client:
        for method in ("GET", "GET", "PUT", "PUT"):
            client.request(method, "x")
    assert seen == [None, BASIC, BASIC, None, BASIC, BASIC]
