"""List the branches and the open pull requests of a repository (docs.github.com/rest/branches, rest/pulls)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stagebake.http.client import HttpClient, ServerInfo, require_text
from stagebake.http.registry_auth import OriginToken
from stagebake.stores.github_packages import API_ADDRESS, API_HEADERS, explain_rate_limit

_PER_PAGE = 100
_RIGHTS_HINT = "allow the token to read: in a workflow set `permissions: contents: read, pull-requests: read`"


class GithubBranches:
    """Repository OWNER/NAME on GitHub. Methods raise RegistryError."""

    def __init__(self, repository: str, token: str, environment: Mapping[str, str]) -> None:
        api = (environment.get("GITHUB_API_URL") or API_ADDRESS).rstrip("/")
        self._url = f"{api}/repos/{repository}"
        info = ServerInfo(
            where=f"GitHub's API for {repository}",
            server="GitHub",
            status_hint=_find_hint,
            address_hint="check GITHUB_API_URL",
        )
        self._client = HttpClient(info, headers=API_HEADERS, auth=OriginToken(api, token))

    def list_branches(self) -> list[str]:
        """Return the names of all branches."""
        return [require_text(entry["name"]) for entry in self._read_entries("branches")]

    def list_pull_requests(self) -> list[int]:
        """Return the numbers of the open pull requests."""
        return [int(entry["number"]) for entry in self._read_entries("pulls", state="open")]

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _read_entries(self, kind: str, **parameters: str) -> Iterator[Mapping[str, Any]]:
        page = self._client.send("GET", f"{self._url}/{kind}", params={"per_page": _PER_PAGE, **parameters})
        while True:
            yield from self._client.parse_json(page, _require_entries)
            if "next" not in page.links:
                return
            page = self._client.send("GET", page.links["next"]["url"])


def _require_entries(document: Any) -> list[Mapping[str, Any]]:
    """Return a list of objects with a name or a number. Raises KeyError or TypeError for anything else."""
    if not isinstance(document, list):
        raise TypeError(document)
    for entry in document:
        if "name" not in entry:
            int(entry["number"])
    return document


def _find_hint(response: Any) -> str:
    if limit := explain_rate_limit(response):
        return limit
    if response.status_code in (401, 403, 404):
        return _RIGHTS_HINT
    return "try again later: githubstatus.com"
