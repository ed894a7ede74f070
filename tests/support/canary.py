"""Check at each HTTP server of the tests that a registry's login goes to that registry only.

A canary is a login or a token whose secret names the port of its registry. A server that receives the canary of
another registry notes a leak, and tests/conftest.py fails the test. The token service of a registry may receive its
canary.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from typing import cast
from urllib.parse import unquote

CANARY_USER = "canary"
_SECRET = re.compile(r"canary-of-port-(\d+)\b")
_BASIC = re.compile(r"\bBasic\s+([\w+/=]+)", re.IGNORECASE)

# Clients of the engine, which is not the subject of these tests
_ENGINE_AGENTS = ("containerd/", "docker/", "buildkit/", "Docker-Client/")


def canary_secret(host: str) -> str:
    """Return the password or token for a registry at HOST:PORT."""
    return f"canary-of-port-{host.rpartition(':')[2]}"


def canary_login(host: str) -> str:
    """Return user and password for a registry at HOST:PORT, as `auth` in docker's config.json has them."""
    return base64.b64encode(f"{CANARY_USER}:{canary_secret(host)}".encode()).decode()


class LeakDetector:
    """Leaks so far, one line each, and the token services: pairs of registry port and service port."""

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._token_services: set[tuple[int, int]] = set()

    def allow_token_service(self, registry: str, service: str) -> None:
        """Let a token service at HOST:PORT receive the login of a registry at HOST:PORT."""
        self._token_services.add((_port_of(registry), _port_of(service)))

    def check_request(self, port: int, request: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        """Note a leak if a request to the server with this port carries the canary of another registry."""
        fields = dict(headers)
        if fields.get("User-Agent", "").startswith(_ENGINE_AGENTS):
            return
        values = [request, body.decode(errors="replace")]
        for value in fields.values():
            values += [value, *_decode_logins(value)]
        for value in values:
            for owner in _SECRET.findall(unquote(value)):
                if int(owner) != port and (int(owner), port) not in self._token_services:
                    self.leaks.append(f"{request} at port {port} shows the login of the registry at port {owner}")

    def take_leaks(self) -> list[str]:
        """Return the leaks so far and forget them."""
        leaks = self.leaks
        self.leaks = []
        return leaks


LEAKS = LeakDetector()
"""Leaks at the servers of this process."""


class CheckedHandler(BaseHTTPRequestHandler):
    """Handler that every HTTP server of the tests is built on: it checks each request before it is answered."""

    def parse_request(self) -> bool:
        """Read the request line and the headers, and check them."""
        if not super().parse_request():
            return False
        self._check(self.headers.items())
        return True

    def check_body(self, body: bytes) -> None:
        """Check a body, which may carry a token."""
        self._check((), body)

    def _check(self, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        address = cast(tuple[str, int], self.server.server_address)
        LEAKS.check_request(address[1], f"{self.command} {self.path}", headers, body)


def _decode_logins(header: str) -> list[str]:
    """Return the user and password of each `Basic` login in a header."""
    decoded = []
    for login in _BASIC.findall(header):
        try:
            decoded.append(base64.b64decode(login).decode(errors="replace"))
        except binascii.Error:
            continue
    return decoded


def _port_of(host: str) -> int:
    return int(host.rpartition(":")[2])
