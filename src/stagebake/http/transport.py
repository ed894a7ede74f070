"""Send each request on the route that Docker would take: see `route`."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from threading import Lock
from typing import Any

import httpx

from stagebake.http.route import find_proxy, tls_context
from stagebake.http.unreached import UNREACHED_HOSTS, UnreachedHosts

MAX_CONNECTIONS = 16
"""Number of connections to one server, and of requests in parallel."""


class RoutedTransport(httpx.BaseTransport):
    """Transport that chooses proxy and certificates for each host.

    A host whose https does not answer is tried as the engine tries its insecure registries, if `allows_http` says that
    it is one: TLS without a valid certificate, then http. A host to which no connection was made gets one attempt:
    `unreached` gives its error to the other requests. Requests raise InputError for a proxy variable or a certificate
    that cannot be used.
    """

    def __init__(self, allows_http: Callable[[str], bool], unreached: UnreachedHosts = UNREACHED_HOSTS) -> None:
        self._allows_http = allows_http
        self._unreached = unreached
        self._insecure: dict[str, bool] = {}
        self._transports: dict[tuple[str | None, str, bool], httpx.HTTPTransport] = {}
        self._lock = Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raise the error of an earlier one to a host that is not reached."""
        host = request.url.netloc.decode("ascii")
        with self._unreached.connect_once(f"{request.url.scheme}://{host}") as mark_connected:
            request.extensions["trace"] = _watch_connection(mark_connected)
            return self._send_to_host(request, host)

    def _send_to_host(self, request: httpx.Request, host: str) -> httpx.Response:
        if self._insecure.get(host):
            return self._send_insecurely(request, host)
        try:
            return self._transport_to(request.url, verify=True).handle_request(request)
        except httpx.ConnectError as error:
            if request.url.scheme != "https" or _is_unknown_host(error) or not self._allows_http(host):
                raise
        self._insecure[host] = True
        return self._send_insecurely(request, host)

    def close(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            transport.close()

    def _send_insecurely(self, request: httpx.Request, host: str) -> httpx.Response:
        try:
            return self._transport_to(request.url, verify=False).handle_request(request)
        except httpx.ConnectError:
            plain_url = request.url.copy_with(scheme="http", port=request.url.port or 80)
            plain = httpx.Request(
                request.method, plain_url, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
            return self._transport_to(plain_url, verify=False).handle_request(plain)

    def _transport_to(self, url: httpx.URL, *, verify: bool) -> httpx.HTTPTransport:
        """Return the transport for a host; its connections are used again."""
        proxy = find_proxy(str(url), os.environ)
        host = url.netloc.decode("ascii") if url.scheme == "https" else ""
        key = (proxy, host, verify)
        with self._lock:
            if key not in self._transports:
                self._transports[key] = httpx.HTTPTransport(
                    verify=_choose_context(host, verify=verify),
                    proxy=proxy,
                    trust_env=False,
                    limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
                )
            return self._transports[key]


def _watch_connection(mark_connected: Callable[[], None]) -> Callable[[str, Any], None]:
    """Return what httpcore calls at each event of a request (encode.io/httpcore, extensions, "trace")."""

    def observe_event(name: str, _details: Any) -> None:
        if name.endswith("connect_tcp.complete"):
            mark_connected()

    return observe_event


def _choose_context(host: str, *, verify: bool) -> ssl.SSLContext | bool:
    """Return the TLS context for a host. Without a host the connection is not encrypted, and needs none."""
    if not host or not verify:
        return False
    return tls_context(host)


def _is_unknown_host(error: BaseException | None) -> bool:
    """Return True if the cause of an error is a name that no name server knows."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
