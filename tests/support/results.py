"""Serve version 2 of GitHub's cache service, which cannot be installed, to BuildKit's real client.

The calls are those of actions/toolkit, packages/cache/src/generated/results/api/v1/cache.ts; contents go to and come
from Azure's blob storage (learn.microsoft.com/rest/api/storageservices: "Put Blob", "Put Block", "Put Block List", "Get
Blob"). As on GitHub an entry belongs to the git ref of the run that wrote it, and a run reads those of the refs in its
token.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.canary import CheckedHandler
from tests.support.service import token

_WRITE = 2


class ResultsService:
    """Service on a free port of 127.0.0.1. `entries` are the finished ones by git ref and key, oldest first."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], bytes] = {}
        self.reserved: dict[tuple[str, str], dict[str, bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.service = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def environment(self, ref: str, *more: str) -> dict[str, str]:
        """Return the variables of a run for this git ref; it may read what runs for `more` have written."""
        return {
            "ACTIONS_CACHE_SERVICE_V2": "True",
            "ACTIONS_RESULTS_URL": self.url,
            "ACTIONS_RUNTIME_TOKEN": token(ref, *more),
        }

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(CheckedHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    @property
    def _service(self) -> ResultsService:
        return self.server.service  # type: ignore[attr-defined, no-any-return]

    def do_POST(self) -> None:  # noqa: N802 (http.server's name)
        call = self.path.rpartition("/twirp/github.actions.results.api.v1.CacheService/")[2]
        body = json.loads(self._body())
        status, answer = getattr(self, f"_{call}")(body, self._refs())
        self._answer(status, json.dumps(answer).encode())

    def _GetCacheEntryDownloadURL(self, body: dict[str, Any], refs: dict[str, int]) -> tuple[int, Any]:  # noqa: N802
        for ref in refs:
            keys = [key for owner, key in self._service.entries if owner == ref]
            found = [key for key in keys if key == body["key"]]
            found += [k for prefix in body.get("restore_keys", []) for k in reversed(keys) if k.startswith(prefix)]
            if found:
                return 200, {"ok": True, "matched_key": found[0], "signed_download_url": self._url(ref, found[0])}
        return 200, {"ok": False}

    def _CreateCacheEntry(self, body: dict[str, Any], refs: dict[str, int]) -> tuple[int, Any]:  # noqa: N802
        place = _own(refs), body["key"]
        if place in self._service.entries or place in self._service.reserved:
            return 409, {"code": "already_exists", "msg": "cache entry with the same key and version already exists"}
        self._service.reserved[place] = {}
        return 200, {"ok": True, "signed_upload_url": self._url(*place)}

    def _FinalizeCacheEntryUpload(self, body: dict[str, Any], refs: dict[str, int]) -> tuple[int, Any]:  # noqa: N802
        place = _own(refs), body["key"]
        content = self._service.reserved.pop(place)[""]
        assert len(content) == int(body["size_bytes"])
        self._service.entries[place] = content
        return 200, {"ok": True, "entry_id": str(len(self._service.entries))}

    def do_PUT(self) -> None:  # noqa: N802 (http.server's name)
        """Store the whole content, a block of it, or the list of its blocks."""
        query = parse_qs(urlsplit(self.path).query)
        blocks = self._service.reserved[self._place()]
        content = self._body()
        match query.get("comp", [None])[0]:
            case "block":
                blocks[query["blockid"][0]] = content
            case "blocklist":
                names = re.findall(rb"<(?:Latest|Uncommitted)>([^<]+)<", content)
                blocks[""] = b"".join(blocks[name.decode()] for name in names)
            case _:
                blocks[""] = content
        self._answer(201, b"")

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        content = self._service.entries[self._place()]
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("x-ms-range") or self.headers.get("Range") or "")
        if wanted is None:
            self._answer(200, content)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        self._answer(206, content[start : end + 1], f"bytes {start}-{end}/{len(content)}")

    do_HEAD = do_GET  # noqa: N815 (http.server's name)

    def _url(self, ref: str, key: str) -> str:
        place = base64.urlsafe_b64encode(json.dumps([ref, key]).encode()).decode()
        return f"{self._service.url}blobs/{place}?sig=none"

    def _place(self) -> tuple[str, str]:
        ref, key = json.loads(base64.urlsafe_b64decode(unquote(urlsplit(self.path).path.rpartition("/")[2])))
        return ref, key

    def _refs(self) -> dict[str, int]:
        """Return the git refs in the token, each with what it may do there."""
        body = self.headers["Authorization"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return {entry["Scope"]: entry["Permission"] for entry in json.loads(claims["ac"])}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, content: bytes, part: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-ms-request-id", "1")
        self.send_header("ETag", '"1"')
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _own(refs: dict[str, int]) -> str:
    return next(ref for ref, permission in refs.items() if permission & _WRITE)
