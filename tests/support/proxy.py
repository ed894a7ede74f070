"""Run a reverse proxy in front of the registry: count what passes, and break it where a rule says so."""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any, cast

from tests.support.canary import CheckedHandler

_CHUNK = 1 << 16
_TLS_HANDSHAKE = b"\x16"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Change of one exchange, in seconds and bytes. `status`, `reset` and `stall` replace the answer.

    `body` is that of the answer with `status`; by default it is an error as registries write it. `stall` is silence.
    `without` are the headers that the answer lacks. With `away` the answer names the same path at the proxy's storage,
    which is another host.
    """

    status: int | None = None
    body: bytes = b'{"errors":[{"code":"FAULT","message":"a rule of the tests"}]}'
    away: bool = False
    without: tuple[str, ...] = ()
    delay: float = 0.0
    reset: bool = False
    stall: bool = False
    truncate: bool = False
    flip: bool = False


Rule = Callable[[str, str], Fault | None]
"""Method and path to what goes wrong, None for nothing."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Request and its answer; `sent` are the bytes of the answer's body, `received` those of the request's."""

    method: str
    path: str
    status: int
    sent: int
    received: int
    agent: str


class Link:
    """Line of a given speed in bytes per second in each direction, which several proxies may share."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = {"down": 0.0, "up": 0.0}

    def carry(self, direction: str, count: int) -> None:
        """Wait as long as the line takes for these bytes, after those that other connections have sent."""
        with self._lock:
            now = time.monotonic()
            self._free_at[direction] = max(now, self._free_at[direction]) + count / self._rate
            wait = self._free_at[direction] - now
        time.sleep(wait)


class Proxy:
    """Proxy on a free port of 127.0.0.1, which passes everything on to another port.

    `storage` is the port of the host that answers with `away` and, with `moves_uploads`, each upload leads to. Where
    `login` is set, a request needs this `user:password` in base64. With a `link`, bodies take the time of that line.
    """

    def __init__(self, upstream: int, storage: int | None = None, *, moves_uploads: bool = False) -> None:
        self.exchanges: list[Exchange] = []
        self.rule: Rule = _nothing
        self.agent = ""
        self.storage = storage or upstream
        self.login: str | None = None
        self.link: Link | None = None
        self.moves_uploads = moves_uploads
        self._server = _Server(self, upstream)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @contextlib.contextmanager
    def faults(self, rule: Rule, agent: str = "") -> Iterator[None]:
        """Ask the rule about each request of a client whose User-Agent starts with `agent`, while this lasts."""
        self.rule, self.agent = rule, agent
        try:
            yield
        finally:
            self.rule = _nothing

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Exchange]]:
        """Collect the exchanges that end while this lasts."""
        seen: list[Exchange] = []
        start = len(self.exchanges)
        yield seen
        seen += self.exchanges[start:]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()


def _nothing(_method: str, _path: str) -> None:
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy, upstream: int) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def hang_up(self) -> None:
        """End the connections that clients keep open, and with them their threads."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that goes away; print any other error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Reset(ConnectionError):
    """Raised where the rule breaks the connection."""


class _Handler(CheckedHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _CHUNK
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream)

    def finish(self) -> None:
        self._upstream.close()
        self.server.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()
        self.rfile.close()

    def handle_one_request(self) -> None:
        """Answer plainly to TLS, which the engine tries first."""
        if cast(io.BufferedReader, self.rfile).peek(1)[:1] == _TLS_HANDSHAKE:
            self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            self.close_connection = True
            return
        super().handle_one_request()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; the exchanges are kept."""

    def do_any(self) -> None:
        agent = self.headers.get("User-Agent", "")
        fault = self._require_login() or self._fault(agent) or Fault()
        time.sleep(fault.delay)
        if fault.stall:
            self._stall()
        if fault.reset or fault.stall:
            self._break()
        received = 0
        if fault.status is None:
            self._send_head()
        for part in self._request_body():
            received += len(part)
            self._carry("up", part)
            if fault.status is None:
                self._upstream.send(part)
        status, sent = self._refuse(fault) if fault.status else self._relay(fault)
        exchange = Exchange(
            method=self.command, path=self.path, status=status, sent=sent, received=received, agent=agent
        )
        self.server.proxy.exchanges.append(exchange)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 (http.server's names)

    def _require_login(self) -> Fault | None:
        login = self.server.proxy.login
        if login is None or self.headers.get("Authorization") == f"Basic {login}":
            return None
        return Fault(status=401)

    def _fault(self, agent: str) -> Fault | None:
        proxy = self.server.proxy
        return proxy.rule(self.command, self.path) if agent.startswith(proxy.agent) else None

    def _send_head(self) -> None:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP - {"transfer-encoding"} | {"expect"}:
                self._upstream.putheader(name, value)
        self._upstream.endheaders()

    def _request_body(self) -> Iterator[bytes]:
        """Yield the body as it is on the wire: chunks keep their frames."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            yield from self._request_chunks()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            part = self.rfile.read1(min(left, _CHUNK))
            if not part:
                raise ConnectionError("the client hung up")
            left -= len(part)
            yield part

    def _request_chunks(self) -> Iterator[bytes]:
        size = 1
        while size:
            line = self.rfile.readline()
            size = int(line.split(b";")[0], 16)
            yield line + self.rfile.read(size + 2)

    def _relay(self, fault: Fault) -> tuple[int, int]:
        with self._upstream.getresponse() as answer:
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP and name not in fault.without:
                    self.send_header(name, self._move_upload(name, value))
            chunked = answer.chunked and self.command != "HEAD"
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command == "HEAD":
                return answer.status, 0
            return answer.status, self._send_body(answer, fault, chunked=chunked)

    def _move_upload(self, name: str, value: str) -> str:
        """Return the value of a header; the address of an upload leads to the storage, if the proxy moves uploads."""
        proxy = self.server.proxy
        if proxy.moves_uploads and name.lower() == "location" and "/blobs/uploads/" in value:
            return value.replace(f":{proxy.port}/", f":{proxy.storage}/")
        return value

    def _send_body(self, answer: http.client.HTTPResponse, fault: Fault, *, chunked: bool) -> int:
        sent = 0
        half = int(answer.headers.get("Content-Length") or 0) // 2
        while part := answer.read(_CHUNK):
            self._carry("down", part)
            if fault.flip and sent <= half < sent + len(part):
                part = _flipped(part, half - sent)
            if fault.truncate and sent + len(part) > half:
                self.wfile.write(part[: half - sent])
                self._break(politely=True)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            sent += len(part)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        return sent

    def _carry(self, direction: str, part: bytes) -> None:
        link = self.server.proxy.link
        if link is not None:
            link.carry(direction, len(part))

    def _refuse(self, fault: Fault) -> tuple[int, int]:
        status, body = fault.status or 500, fault.body
        self.send_response_only(status)
        if fault.away:
            self.send_header("Location", f"http://127.0.0.1:{self.server.proxy.storage}{self.path}")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="tests"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return status, 0
        self.wfile.write(body)
        return status, len(body)

    def _stall(self) -> None:
        """Wait until the client has gone away, or the fault is over."""
        proxy = self.server.proxy
        while proxy.rule is not _nothing:
            if select.select([self.connection], [], [], 0.05)[0] and not self.connection.recv(_CHUNK):
                return

    def _break(self, *, politely: bool = False) -> None:
        """End the connection: after what was written, or at once with a reset."""
        if politely:
            self.wfile.flush()
        else:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        raise _Reset


def _flipped(part: bytes, index: int) -> bytes:
    return part[:index] + bytes([part[index] ^ 1]) + part[index + 1 :]
