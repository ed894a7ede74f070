"""Serve GitHub's API for the branches and the pull requests of a repository, page by page.

Each request and answer is checked against GitHub's own description, `branches.openapi.json` (npm's @octokit/openapi
without the texts and the other endpoints). Of a pull request, the fields other than the number are the smallest
that the description allows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openapi_core import OpenAPI

from tests.support.packages import TOKEN, check_exchange
from tests.support.page import Answer, Asked, server

_FILE = Path(__file__).with_name("branches.openapi.json")
_DESCRIPTION = OpenAPI.from_file_path(str(_FILE))
_DOCUMENT = json.loads(_FILE.read_text(encoding="utf-8"))


@dataclass
class Branches:
    """Repository `owner/app` with these branches and open pull requests; `refusal` is a status for every request."""

    branches: Sequence[str] = ()
    pull_requests: Sequence[int] = ()
    refusal: int | None = None
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Yield the address of the API."""
        with server(self._answer) as host:
            self._host = host
            yield f"http://{host}"
        assert not self.wrong, self.wrong

    def _answer(self, asked: Asked, _body: bytes) -> Answer:
        where = urlsplit(asked.path)
        query = {key: values[-1] for key, values in parse_qs(where.query).items()}
        self.asked.append(asked.path)
        status, headers, entries = self._list_entries(where.path, query, asked.headers.get("Authorization", ""))
        body = json.dumps(entries).encode()
        check_exchange(_DESCRIPTION, self.wrong, (asked.command, where.path, query), status, body)
        return status, {"Content-Type": "application/json", **headers}, body

    def _list_entries(self, path: str, query: Mapping[str, str], login: str) -> tuple[int, dict[str, str], Any]:
        if self.refusal or login != f"Bearer {TOKEN}":
            return self.refusal or 401, {}, {"message": "Not Found"}
        kind = path.removeprefix("/repos/owner/app/")
        entries = [{**_smallest("short-branch"), "name": name} for name in self.branches]
        if kind == "pulls":
            entries = [{**_smallest("pull-request-simple"), "number": number} for number in self.pull_requests]
        page, size = int(query.get("page", 1)), int(query.get("per_page", 30))
        headers = {}
        if page * size < len(entries):
            following = f"http://{self._host}{path}?per_page={size}&page={page + 1}"
            headers["Link"] = f'<{following}>; rel="next"'
        return 200, headers, entries[(page - 1) * size : page * size]


@cache
def _smallest(name: str) -> dict[str, Any]:
    """Return the smallest object of a schema of the description."""
    made: dict[str, Any] = _make(_DOCUMENT["components"]["schemas"][name])
    return made


def _make(schema: Mapping[str, Any]) -> Any:
    """Return a value that a schema allows, with required properties only."""
    if "$ref" in schema:
        return _make(_DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return _make(choices[0])
    if "allOf" in schema:
        return {key: value for part in schema["allOf"] for key, value in _make(part).items()}
    if "properties" in schema:
        return {name: _make(schema["properties"][name]) for name in schema.get("required", ())}
    return None if schema.get("nullable") else _make_plain(schema)


def _make_plain(schema: Mapping[str, Any]) -> Any:
    """Return a value of a schema without parts."""
    if "enum" in schema:
        return schema["enum"][0]
    texts = {"date-time": "2026-01-01T00:00:00Z", "uri": "https://api.github.com/"}
    values = {"array": [], "integer": 1, "number": 1, "boolean": False, "object": {}}
    return values.get(schema.get("type", ""), texts.get(schema.get("format", ""), "x"))
