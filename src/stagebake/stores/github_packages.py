"""List and delete the versions of an image on ghcr.io (docs.github.com/rest/packages).

GitHub's registry deletes nothing; only this API does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from stagebake.cache.backends import TaggedVersion
from stagebake.errors import InputError
from stagebake.http.client import HttpClient, ServerInfo, read_error_text, require_text
from stagebake.http.registry_auth import OriginToken

HOST = "ghcr.io"
API_ADDRESS = "https://api.github.com"
API_HEADERS = {
    "Accept": "application/vnd.github+json",
    "X-GitHub-Api-Version": "2022-11-28",
}
_VERSIONS_PER_PAGE = 100
_RIGHTS_HINT = (
    "allow the token to delete: in a workflow set `permissions: packages: write` and give the repository the role "
    "Admin under the package's settings, Manage Actions access; elsewhere use a classic token with `delete:packages`"
)


class GithubPackages:
    """Package of an image `ghcr.io/OWNER/NAME`, whose owner is an organization or a user.

    Raises InputError where the name or the token is missing; methods raise RegistryError.
    """

    lists_untagged = True

    def __init__(self, image: str, token: str | None, environment: Mapping[str, str]) -> None:
        self._owner, _, name = image.removeprefix(f"{HOST}/").partition("/")
        if not self._owner or not name:
            raise InputError(f"{image}: not the name of an image on {HOST}", f"write it as {HOST}/OWNER/NAME")
        if token is None:
            raise InputError(f"{image}: the token is missing", "set GITHUB_TOKEN, or log in: docker login ghcr.io")
        self._name = quote(name, safe="")
        self._api = (environment.get("GITHUB_API_URL") or API_ADDRESS).rstrip("/")
        info = ServerInfo(
            where="GitHub's packages API",
            server="GitHub",
            status_hint=_find_hint,
            address_hint="check GITHUB_API_URL",
        )
        self._client = HttpClient(info, headers=API_HEADERS, auth=OriginToken(self._api, token))

    def list_versions(self) -> list[TaggedVersion]:
        """Return all versions with their tags; none where the package is missing or hidden from the token."""
        for owner_kind in ("orgs", "users"):
            url = self._versions_url(owner_kind)
            parameters = {"per_page": _VERSIONS_PER_PAGE, "state": "active"}
            first_page = self._client.send("GET", url, accept=(404,), params=parameters)
            if first_page.status_code != 404:
                return self._parse_pages(first_page, url)
        return []

    def delete_version(self, version: TaggedVersion) -> str | None:
        """Delete a version. Return GitHub's reason where it keeps it: the last tagged or a much downloaded version.

        A version that is already deleted counts as deleted.
        """
        response = self._client.send("DELETE", version.key, accept=(400, 404))
        return read_error_text(response) if response.status_code == 400 else None

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _versions_url(self, owner_kind: str) -> str:
        return f"{self._api}/{owner_kind}/{self._owner}/packages/container/{self._name}/versions"

    def _parse_pages(self, first_page: httpx.Response, url: str) -> list[TaggedVersion]:
        versions: list[TaggedVersion] = []
        for page in self._follow_pages(first_page):
            versions += self._client.parse_json(page, partial(_parse_versions, url))
        return versions

    def _follow_pages(self, page: httpx.Response) -> Iterator[httpx.Response]:
        yield page
        while "next" in page.links:
            page = self._client.send("GET", page.links["next"]["url"])
            yield page


def explain_rate_limit(response: httpx.Response) -> str | None:
    """Return when GitHub accepts requests again; None where the response is about something else.

    docs.github.com/rest, "Rate limits for the REST API": 403 or 429, with `x-ratelimit-remaining: 0` and
    `x-ratelimit-reset` (seconds since 1970), or with `retry-after` (seconds) for the secondary limit.
    """
    if response.status_code not in (403, 429):
        return None
    wait = response.headers.get("Retry-After", "")
    if wait.isdecimal():
        return f"this is GitHub's rate limit: run this again in {wait} s; what is done stays done"
    reset = response.headers.get("X-RateLimit-Reset", "")
    if response.headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        time = datetime.fromtimestamp(int(reset), UTC)
        return f"this is GitHub's rate limit: run this again after {time:%H:%M} UTC; what is done stays done"
    if response.status_code == 429:
        return "this is GitHub's rate limit: run this again in some minutes; what is done stays done"
    return None


def _find_hint(response: httpx.Response) -> str:
    if limit := explain_rate_limit(response):
        return limit
    if response.status_code in (401, 403):
        return _RIGHTS_HINT
    return "try again later: githubstatus.com"


def _parse_versions(url: str, entries: Any) -> list[TaggedVersion]:
    """Return the versions of a page; the name of a version is its digest."""
    versions = []
    for entry in entries:
        version = TaggedVersion(
            key=f"{url}/{int(entry['id'])}",
            tags=_parse_tags(entry),
            digest=require_text(entry["name"]),
            touched=_parse_touched(entry),
        )
        versions.append(version)
    return versions


def _parse_touched(entry: Any) -> float:
    """Return when a version was pushed or changed last, in seconds since 1970."""
    times = [datetime.fromisoformat(entry[key]).timestamp() for key in ("created_at", "updated_at")]
    return max(times)


def _parse_tags(entry: Any) -> frozenset[str]:
    container = (entry.get("metadata") or {}).get("container") or {}
    tags = container.get("tags") or ()
    return frozenset(require_text(tag) for tag in tags)
