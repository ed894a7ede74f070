"""The versions of an image on ghcr.io: only GitHub's own API deletes them (docs.github.com/rest/packages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import stamina

from stagebake.cache.repository import TaggedVersion
from stagebake.errors import InputError, RegistryError
from stagebake.stores.http import is_temporary, parse_answer, require_text

HOST = "ghcr.io"
_API = "https://api.github.com"
_PAGE = 100
_WHO = "GitHub's packages API"
_RIGHTS = (
    "the token must be allowed to delete: `permissions: packages: write` in a workflow, and the repository the role "
    "Admin under the package's settings, Manage Actions access; elsewhere a classic token with `delete:packages`"
)


class GithubPackages:
    """The package of `image` (ghcr.io/OWNER/NAME), which belongs to an organization or to a user."""

    def __init__(self, image: str, token: str | None, environment: Mapping[str, str]) -> None:
        self._owner, _, name = image.removeprefix(f"{HOST}/").partition("/")
        if not self._owner or not name:
            raise InputError(f"{image}: not the name of an image on {HOST}", f"it is called {HOST}/OWNER/NAME")
        if token is None:
            raise InputError(f"{image}: no token to delete with", "set GITHUB_TOKEN, or log in: docker login ghcr.io")
        self._name = quote(name, safe="")
        self._api = (environment.get("GITHUB_API_URL") or _API).rstrip("/")
        self._http = httpx.Client(
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": "2022-11-28",
            },
            timeout=httpx.Timeout(20.0, connect=5.0),
        )

    def list_versions(self) -> list[TaggedVersion]:
        """All versions, with their tags; none where there is no package, or none that the token may see."""
        for owner in ("orgs", "users"):
            first = self._request("GET", self._path(owner), params={"per_page": _PAGE, "state": "active"})
            if first.status_code != 404:
                return [version for page in self._pages(first) for version in self._listed(page, owner)]
        return []

    def delete_version(self, version: TaggedVersion) -> str | None:
        """Deletes a version; returns GitHub's words where it may not go: the last one with a tag, or a popular one."""
        response = self._request("DELETE", version.key)
        return _words(response) if response.status_code == 400 else None

    def close(self) -> None:
        self._http.close()

    def _listed(self, page: httpx.Response, owner: str) -> list[TaggedVersion]:
        entries = parse_answer(page, _WHO, lambda found: {entry["id"]: _tags(entry) for entry in found})
        return [TaggedVersion(key=f"{self._path(owner)}/{key}", tags=tags) for key, tags in entries.items()]

    def _path(self, owner: str) -> str:
        return f"{self._api}/{owner}/{self._owner}/packages/container/{self._name}/versions"

    def _pages(self, page: httpx.Response) -> Iterator[httpx.Response]:
        yield page
        while following := page.links.get("next"):
            page = self._request("GET", following["url"])
            yield page

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Asks until there is an answer; 404 is one, and 400 to DELETE. Raises RegistryError."""
        answers = (400, 404) if method == "DELETE" else (404,)
        try:
            for attempt in stamina.retry_context(on=_passing, attempts=4, timeout=30.0, wait_initial=0.2, wait_max=5.0):
                with attempt:
                    response = self._http.request(method, path, **arguments)
                    if response.is_error and response.status_code not in answers:
                        response.raise_for_status()
        except httpx.HTTPStatusError as error:
            said = f"{method} answered {error.response.status_code} ({_words(error.response)})"
            remedy = _RIGHTS if error.response.status_code in (401, 403) else "try again later: githubstatus.com"
            raise RegistryError(f"{_WHO}: {said}", remedy) from None
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise RegistryError(f"{_WHO} was not reached ({said})", "is the network up?") from None
        except (httpx.InvalidURL, UnicodeError) as error:
            raise RegistryError(
                f"{_WHO} was not reached: its address is none ({error})", "is GITHUB_API_URL right?"
            ) from None
        return response


def _tags(entry: Any) -> frozenset[str]:
    container = (entry.get("metadata") or {}).get("container") or {}
    return frozenset(require_text(tag) for tag in container.get("tags") or ())


def _passing(error: Exception) -> bool:
    """Failures that may pass by themselves; any answer with Retry-After is a limit of GitHub's."""
    limited = isinstance(error, httpx.HTTPStatusError) and "Retry-After" in error.response.headers
    return limited or is_temporary(error)


def _words(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
