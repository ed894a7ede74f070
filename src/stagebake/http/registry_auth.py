"""Log in to a registry as it asks for it, and show the login to no other host.

A registry answers 401 with one or more challenges (RFC 9110, "WWW-Authenticate"): `Bearer`, for which its token service
exchanges the login (distribution, docs/spec/auth/token.md and oauth.md), or `Basic`. containerd, which pulls for
Docker, prefers `Bearer` (core/remotes/docker/auth/parse.go).
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import httpx

from stagebake.http.credentials import Login

_SCHEME = re.compile(r"(?:^|,)\s*(basic|bearer|digest|negotiate|ntlm)(?=\s|,|$)", re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """Scheme in lower case, and its parameters, of one way to log in that a registry offers."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Return the challenges in a WWW-Authenticate header, in which commas separate both challenges and parameters."""
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: "_" * len(quoted[0]), header)
    starts = list(_SCHEME.finditer(unquoted))
    challenges = []
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(header)
        parameters = {}
        for name, quoted, token in _PARAMETER.findall(header[start.end() : end]):
            parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or token
        challenges.append(Challenge(scheme=start[1].lower(), parameters=parameters))
    return challenges


class RegistryAuth(httpx.Auth):
    """Authentication for the repository `name` of the registry whose scheme, host and port `base_url` has.

    A request to another host (an upload address, the next page, a redirect) carries no login, and a challenge of that
    host is not answered. Headers are stored for reads and for writes, which need another token.
    """

    def __init__(self, base_url: str, name: str, login: Login | None) -> None:
        self._origin = _origin_of(httpx.URL(base_url))
        self._name = name
        self._login = login or Login()
        self._headers: dict[bool, str] = {}
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the stored header; after HTTP 401, send the one that the registry asks for."""
        if _origin_of(request.url) != self._origin:
            request.headers.pop("Authorization", None)
            yield request
            return
        writes = request.method not in ("GET", "HEAD")
        if writes in self._headers:
            request.headers["Authorization"] = self._headers[writes]
        response = yield request
        if response.status_code != 401 or _origin_of(response.url) != self._origin:
            return
        header = yield from self._answer_challenges(response, writes=writes)
        if header is None:
            return
        with self._lock:
            self._headers[writes] = header
        request.headers["Authorization"] = header
        yield request

    def _answer_challenges(
        self, response: httpx.Response, *, writes: bool
    ) -> Generator[httpx.Request, httpx.Response, str | None]:
        """Return the header that answers the first challenge that can be answered, `Bearer` before `Basic`.

        A registry token answers each.
        """
        if self._login.registry_token:
            return f"Bearer {self._login.registry_token}"
        challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        for challenge in challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                token_response = yield self._token_request(challenge.parameters, writes=writes)
                token_response.read()
                token_response.raise_for_status()
                return f"Bearer {_parse_token(token_response)}"
        if self._login.user and any(challenge.scheme == "basic" for challenge in challenges):
            return self._basic_header()
        return None

    def _token_request(self, challenge: Mapping[str, str], *, writes: bool) -> httpx.Request:
        """Ask the token service. A challenge without a scope means the one that the request needs."""
        parameters = {"scope": f"repository:{self._name}:{'pull,push' if writes else 'pull'}"}
        for key in ("service", "scope"):
            if key in challenge:
                parameters[key] = challenge[key]
        if self._login.identity_token:
            form = {
                **parameters,
                "grant_type": "refresh_token",
                "client_id": "stagebake",
                "refresh_token": self._login.identity_token,
            }
            return httpx.Request("POST", challenge["realm"], data=form)
        headers = {"Authorization": self._basic_header()} if self._login.user else {}
        return httpx.Request("GET", challenge["realm"], params=parameters, headers=headers)

    def _basic_header(self) -> str:
        login = f"{self._login.user}:{self._login.password}".encode("utf-8", "surrogateescape")
        return f"Basic {base64.b64encode(login).decode()}"


class OriginToken(httpx.Auth):
    """Bearer token for the scheme, host and port of `base_url`; a request to another host carries none."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base_url = base_url
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the token to its own host."""
        if _origin_of(request.url) == _origin_of(httpx.URL(self._base_url)):
            request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port, with the default port filled in."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _parse_token(response: httpx.Response) -> str:
    """Return the token; empty for a response of another shape, which the registry then refuses."""
    try:
        document = response.json()
        return str(document.get("token") or document.get("access_token") or "")
    except (ValueError, AttributeError):
        return ""
