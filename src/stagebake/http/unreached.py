"""Remember the hosts to which no connection is made, so that each of them costs one attempt.

Offline, the base images, the caches and the ledger would otherwise wait one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock

import httpx

REMEMBERED_SECONDS = 30.0
"""Age at which a failed host is tried again: a build saves its caches long after it has read them."""

_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout)


@dataclass
class _Host:
    """State of one host. The request that connects first holds `turn`; `failed_at` is the time of `error`."""

    turn: Lock = field(default_factory=Lock)
    connected: bool = False
    error: httpx.TransportError | None = None
    failed_at: float = 0.0


class UnreachedHosts:
    """State of the connections to the hosts of this run. `read_clock` returns seconds."""

    def __init__(self, read_clock: Callable[[], float] = time.monotonic) -> None:
        self._read_clock = read_clock
        self._hosts: dict[str, _Host] = {}
        self._lock = Lock()

    @contextmanager
    def connect_once(self, address: str) -> Iterator[Callable[[], None]]:
        """Wrap a request to SCHEME://HOST[:PORT]; yield what it calls as soon as it is connected.

        While the first request to a host connects, the others wait. Raises the error of a connection that failed less
        than REMEMBERED_SECONDS ago.
        """
        host = self._find_host(address)
        with ExitStack() as turn:

            def mark_connected() -> None:
                host.connected = True
                turn.close()

            if not host.connected:
                turn.enter_context(host.turn)
                self._raise_recent_error(host)
            if host.connected:
                turn.close()
            try:
                yield mark_connected
            except _NOT_CONNECTED as error:
                host.connected = False
                host.error = error
                host.failed_at = self._read_clock()
                raise

    def forget_hosts(self) -> None:
        """Forget all hosts."""
        with self._lock:
            self._hosts.clear()

    def _find_host(self, address: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(address, _Host())

    def _raise_recent_error(self, host: _Host) -> None:
        error = host.error
        if host.connected or error is None:
            return
        if self._read_clock() - host.failed_at < REMEMBERED_SECONDS:
            raise type(error)(str(error))


UNREACHED_HOSTS = UnreachedHosts()
"""Hosts of this process."""
