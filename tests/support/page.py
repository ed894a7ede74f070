"""Run HTTP servers for the tests: one answers by a function, one shows the same page to all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.canary import CheckedHandler

HTML = b"<!DOCTYPE html><title>Please log in</title>"

Asked = BaseHTTPRequestHandler
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def server(answer: Callable[[Asked, bytes], Answer]) -> Iterator[str]:
    """Answer each request, whose body is given, with status, headers and body; yield HOST:PORT."""

    class Handler(CheckedHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.check_body(content)
            status, headers, body = answer(self, content)
            self.send_response(status)
            # Without this header clients would send the next request on the closed connection
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{running.server_address[1]}"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Answer every request with this body, as a proxy that wants a login or shows an error; yield its address."""
    with server(lambda _asked, _body: (status, {"Content-Type": "text/html"}, body)) as host:
        yield f"http://{host}"
