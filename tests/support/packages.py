"""Serve GitHub's packages API for container versions: list them by page, delete them one by one.

Each request and answer is checked against GitHub's own description, `packages.openapi.json` (npm's @octokit/openapi
without the texts and the other endpoints). The rest is as GitHub behaves: the header Link between pages, and 400 for
the last version with a tag.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

from tests.support.canary import CheckedHandler

_DESCRIPTION = OpenAPI.from_file_path(str(Path(__file__).with_name("packages.openapi.json")))
_VERSIONS = re.compile(
    r"/(?P<kind>orgs|users)/(?P<owner>[^/]+)/packages/container/(?P<name>[^/]+)/versions(/(?P<id>\d+))?"
)
_LAST = "You cannot delete the last tagged version of a package. You must delete the package instead."
TOKEN = "ghs_allowed"
POWERLESS = "ghs_powerless"


@dataclass(kw_only=True)
class _Request:
    """Request as openapi_core.protocols.Request."""

    method: str
    path: str
    parameters: RequestParameters
    host_url: str = "https://api.github.com"
    content_type: str = ""
    body: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class _Response:
    """Response as openapi_core.protocols.Response."""

    status_code: int
    data: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    content_type: str = "application/json"


Refusal = tuple[int, Mapping[str, str]]
"""Status and headers of a response that GitHub limits the rate with."""


@dataclass
class Packages:
    """Packages of one account. `kind` is `orgs` or `users`; `versions` are id and tags, for each package's name.

    `digests` are the digests of versions by id. `limited` are the refusals of requests by their method.
    """

    kind: str
    owner: str
    versions: dict[str, dict[int, list[str]]]
    busy: int = 0
    digests: Mapping[int, str] = field(default_factory=dict)
    limited: Mapping[str, Refusal] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __enter__(self) -> Packages:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        assert not self.wrong, self.wrong

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, method: str, path: str, token: str, query: Mapping[str, str]) -> tuple[int, Any, str | None]:
        """Return status, body and the address of the next page."""
        found = _VERSIONS.fullmatch(path)
        if self.busy:
            self.busy -= 1
            return 503, {"message": "Service unavailable"}, None
        if token not in (TOKEN, POWERLESS):
            return 401, {"message": "Requires authentication"}, None
        stage_cache = self.versions.get(unquote(found["name"])) if found else None
        if found is None or (found["kind"], found["owner"]) != (self.kind, self.owner) or stage_cache is None:
            return 404, {"message": "Package not found."}, None
        if method == "GET":
            return self._page(path, sorted(stage_cache.items()), query)
        return (*self._delete(stage_cache, int(found["id"]), token), None)

    def _page(
        self, path: str, stage_cache: list[tuple[int, list[str]]], query: Mapping[str, str]
    ) -> tuple[int, Any, str | None]:
        number, size = int(query.get("page", 1)), int(query.get("per_page", 30))
        end = number * size
        following = f"{self.url}{path}?per_page={size}&page={number + 1}" if end < len(stage_cache) else None
        page = [_version(key, tags, self.digests.get(key)) for key, tags in stage_cache[end - size : end]]
        return 200, page, following

    @staticmethod
    def _delete(stage_cache: dict[int, list[str]], key: int, token: str) -> tuple[int, Any]:
        if token == POWERLESS:
            return 403, {"message": "Resource not accessible by integration"}
        if key not in stage_cache:
            return 404, {"message": "Package version not found."}
        if stage_cache[key] and sum(bool(tags) for tags in stage_cache.values()) == 1:
            return 400, {"message": _LAST}
        del stage_cache[key]
        return 204, None


def _version(key: int, tags: list[str], digest: str | None) -> dict[str, Any]:
    return {
        "id": key,
        "name": digest or f"sha256:{key:064x}",
        "url": "https://api.github.com/…",
        "package_html_url": "https://github.com/…",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "metadata": {"package_type": "container", "container": {"tags": tags}},
    }


def _handler(packages: Packages) -> type[CheckedHandler]:
    class Handler(CheckedHandler):
        def do_any(self) -> None:
            where = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(where.query).items()}
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            packages.asked.append(f"{self.command} {self.path}")
            refused, headers = packages.limited.get(self.command, (0, {}))
            if refused:
                status, body, following = refused, {"message": "API rate limit exceeded"}, None
            else:
                status, body, following = packages.answer(self.command, where.path, token, query)
            data = b"" if body is None else json.dumps(body).encode()
            _check(packages, self.command, where.path, query, status, data)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            if following:
                self.send_header("Link", f'<{following}>; rel="next", <{following}>; rel="last"')
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_DELETE = do_any  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    return Handler


def _check(packages: Packages, method: str, path: str, query: Mapping[str, str], status: int, data: bytes) -> None:
    """Note what GitHub's description does not have; 400, 429 and 503 are not in it."""
    check_exchange(_DESCRIPTION, packages.wrong, (method, path, query), status, data, undescribed=(400, 429, 503))


def check_exchange(
    description: OpenAPI,
    wrong: list[str],
    asked: tuple[str, str, Mapping[str, str]],
    status: int,
    data: bytes,
    undescribed: Collection[int] = (401, 403, 429),
) -> None:
    """Note in `wrong` what a description does not have: of the request (method, path and query), or of the answer."""
    method, path, query = asked
    parameters = RequestParameters(query=ImmutableMultiDict(query), header=Headers())
    request = _Request(method=method.lower(), path=path, parameters=parameters)
    response = _Response(status_code=status, data=data)
    try:
        description.validate_request(request)
        if status not in undescribed:
            description.validate_response(request, response)
    except Exception as error:  # the test reports any error
        wrong.append(f"{method} {path} {status}: {error!r} {error.__cause__!r}")
