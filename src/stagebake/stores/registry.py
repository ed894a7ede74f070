"""One repository of an OCI registry: manifests, blobs, tags (opencontainers/distribution-spec)."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import httpx
import stamina

from stagebake.cache.manifest import MANIFEST_TYPE, ManifestAndConfig, sha256_digest
from stagebake.cache.repository import SIZE_UNKNOWN, TaggedVersion
from stagebake.errors import RegistryError, Spoiled, Unreached
from stagebake.stores.credentials import _IDENTITY, find_login
from stagebake.stores.http import PARALLEL, fetch_all, is_temporary

_ACCEPT = ", ".join(
    (
        MANIFEST_TYPE,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_REDIRECTS = (301, 302, 303, 307, 308)
_SEE = "see docs/troubleshooting.md"
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_LOOPBACK = re.compile(r"^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$")


class Registry:
    """The repository `image` (HOST/NAME). Requests are retried on 429, 5xx and lost connections.

    Raises RegistryError, with the registry's own words, for everything but "not there".
    """

    def __init__(self, image: str) -> None:
        self.image = image
        host, self._name = _split(image)
        scheme = "http" if _LOOPBACK.match(host) else "https"
        self._http = httpx.Client(
            base_url=f"{scheme}://{host}/v2/{self._name}/",
            auth=_TokenAuth(find_login(host)),
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=PARALLEL),
            follow_redirects=True,
        )

    def read_manifests(self, references: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        """The manifests of tags or digests, all at once; None for what is not there, the error for what failed."""
        return fetch_all(self.read_manifest, references)

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        """The contents of blobs, all at once; None for what is not there, the error for what failed."""
        return fetch_all(self._blob, digests)

    def read_blob_sizes(self, digests: Iterable[str]) -> dict[str, int | RegistryError | None]:
        """The sizes of blobs in bytes, all at once; None for what is not there, the error for what failed."""
        return fetch_all(self._size, digests)

    def read_manifest(self, reference: str) -> bytes | None:
        """The manifest of a tag or digest, None where there is none."""
        response = self._ask("GET", f"manifests/{reference}", headers={"Accept": _ACCEPT})
        return response.content if response else None

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Pushes a cache's config and manifest, under a tag or by its digest alone. Returns the manifest's digest.

        A registry takes no blob again that it has, though with other bytes: then the config is spelled otherwise.
        """
        if not self._put_blob(document.config):
            document = document.with_other_config()
            if not self._put_blob(document.config):
                raise self._spoiled(sha256_digest(document.config))
        self._request(
            "PUT",
            f"manifests/{tag or document.digest}",
            content=document.manifest,
            headers={"Content-Type": MANIFEST_TYPE},
        )
        return document.digest

    def import_source(self, digest: str, _tag: str | None) -> str:
        """What the variable CACHE of a bake file says to read the cache with this digest."""
        return f"{self.image}@{digest}"

    def remove_unused_blobs(self) -> None:
        """A registry removes by itself what nothing names, or its owner does."""

    def list_versions(self) -> list[TaggedVersion]:
        """All that tags name, with the tags of each digest."""
        named: dict[str, set[str]] = {}
        for tag, digest in fetch_all(self.read_digest, self._tags()).items():
            if isinstance(digest, RegistryError):
                raise digest
            if digest is not None:
                named.setdefault(digest, set()).add(tag)
        return [TaggedVersion(key=digest, tags=frozenset(tags)) for digest, tags in named.items()]

    def delete_version(self, version: TaggedVersion) -> None:
        """Deletes a manifest and all its tags; one that is gone already is as good."""
        self._ask("DELETE", f"manifests/{version.key}")

    def close(self) -> None:
        self._http.close()

    def _tags(self) -> list[str]:
        """All tags, page by page (distribution-spec, "Listing Tags")."""
        tags: list[str] = []
        page: str | None = "tags/list"
        while page and (response := self._ask("GET", page)):
            tags += self._listed(response)
            following = response.links.get("next")
            page = self._joined(response.url, following["url"]) if following else None
        return tags

    def _listed(self, response: httpx.Response) -> list[str]:
        try:
            return [str(tag) for tag in response.json().get("tags") or ()]
        except (ValueError, AttributeError, TypeError):
            raise self._odd("a list of tags that is none") from None

    def read_digest(self, tag: str) -> str | None:
        """The digest of what a tag names; None where there is none or the registry does not say it."""
        response = self._ask("HEAD", f"manifests/{tag}", headers={"Accept": _ACCEPT})
        return response.headers.get("Docker-Content-Digest") if response else None

    def _blob(self, digest: str) -> bytes | None:
        response = self._ask("GET", f"blobs/{digest}")
        if response and sha256_digest(response.content) != digest:
            raise self._spoiled(digest)
        return response.content if response else None

    def _size(self, digest: str) -> int | None:
        """A redirect to the storage behind says that the blob is there, not how large it is."""
        response = self._ask("HEAD", f"blobs/{digest}", there=_REDIRECTS, follow_redirects=False)
        if response is None:
            return None
        return SIZE_UNKNOWN if response.is_redirect else int(response.headers.get("Content-Length", SIZE_UNKNOWN))

    def _put_blob(self, content: bytes) -> bool:
        """Pushes a small blob where there is none; False where there is one under its digest with other bytes."""
        digest = sha256_digest(content)
        if there := self._ask("GET", f"blobs/{digest}"):
            return there.content == content
        where = self._request("POST", "blobs/uploads/").headers.get("Location")
        if where is None:
            raise self._odd("no address to upload to")
        url = httpx.URL(self._joined(self._http.base_url, where)).copy_merge_params({"digest": digest})
        self._request("PUT", str(url), content=content)
        return True

    def _joined(self, base: httpx.URL, where: str) -> str:
        try:
            return str(base.join(where))
        except httpx.InvalidURL as error:
            raise self._odd(f"an address that is none ({error})") from None

    def _spoiled(self, digest: str) -> Spoiled:
        return Spoiled(f"{self.image}: blob {digest} holds other bytes", _SEE)

    def _odd(self, what: str) -> RegistryError:
        return RegistryError(f"{self.image}: the registry answered with {what}", _SEE)

    def _ask(self, method: str, path: str, *, there: tuple[int, ...] = (), **arguments: Any) -> httpx.Response | None:
        """The answer to a request for what need not be there: then None."""
        response = self._request(method, path, there=(404, *there), **arguments)
        return None if response.status_code == 404 else response

    def _request(self, method: str, path: str, *, there: tuple[int, ...] = (), **arguments: Any) -> httpx.Response:
        """One request, tried again where the failure may pass; the statuses in `there` are answers too."""
        try:
            for attempt in stamina.retry_context(
                on=is_temporary, attempts=4, timeout=20.0, wait_initial=0.1, wait_max=3.0
            ):
                with attempt:
                    response = self._http.request(method, path, **arguments)
                    if response.status_code not in there:
                        response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise RegistryError(f"{self.image}: {_words(error.response)}", _remedy(error.response)) from None
        except httpx.HTTPError as error:
            name = type(error).__name__
            raise Unreached(f"{self.image}: registry not reached ({error or name})", "is the network up?") from None
        except (httpx.InvalidURL, UnicodeError) as error:
            raise RegistryError(f"{self.image}: nothing can be asked for by this name ({error})", _SEE) from None
        return response


class _TokenAuth(httpx.Auth):
    """Bearer tokens as the registry asks for them (distribution, docs/spec/auth/token.md), else basic credentials.

    An identity token is exchanged for one (docs/spec/auth/oauth.md).
    """

    def __init__(self, credentials: tuple[str, str] | None) -> None:
        user, secret = credentials or (None, "")
        self._identity = secret if user == _IDENTITY else None
        self._basic = httpx.BasicAuth(user, secret)._auth_header if user and user != _IDENTITY else None
        self._headers: dict[bool, str] = {}
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        writes = request.method not in ("GET", "HEAD")
        if header := self._headers.get(writes):
            request.headers["Authorization"] = header
        response = yield request
        # The storage behind, to which a registry redirects, must not say whom the login is shown to
        if response.status_code != 401 or response.url.netloc != request.url.netloc:
            return
        scheme, challenge = _challenge(response.headers.get("WWW-Authenticate", ""))
        if scheme == "bearer" and "realm" in challenge:
            answer = yield self._token_request(challenge)
            answer.read()
            answer.raise_for_status()
            header = f"Bearer {_token(answer)}"
        elif scheme == "basic" and self._basic:
            header = self._basic
        else:
            return
        with self._lock:
            self._headers[writes] = header
        request.headers["Authorization"] = header
        yield request

    def _token_request(self, challenge: Mapping[str, str]) -> httpx.Request:
        parameters = {key: challenge[key] for key in ("service", "scope") if key in challenge}
        if self._identity:
            form = {"grant_type": "refresh_token", "client_id": "stagebake", "refresh_token": self._identity}
            return httpx.Request("POST", challenge["realm"], data=parameters | form)
        headers = {"Authorization": self._basic} if self._basic else {}
        return httpx.Request("GET", challenge["realm"], params=parameters, headers=headers)


def _token(answer: httpx.Response) -> str:
    try:
        document = answer.json()
        return document.get("token") or document.get("access_token") or ""
    except (ValueError, AttributeError):
        return ""


def _challenge(header: str) -> tuple[str, dict[str, str]]:
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), dict(re.findall(r'(\w+)="([^"]*)"', rest))


def _words(response: httpx.Response) -> str:
    """The registry's own words (distribution-spec, "Error Codes")."""
    try:
        errors = response.json()["errors"]
        said = "; ".join(f"{e.get('code')}: {e.get('message')}" for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = response.reason_phrase
    return f"{response.request.method} answered {response.status_code} ({said})"


def _remedy(response: httpx.Response) -> str:
    if response.status_code in (401, 403):
        return f"log in: docker login {response.request.url.host}; in a workflow: `permissions: packages: write`"
    if response.status_code == 405:
        return "this registry deletes nothing; its own is configured with `storage: delete: enabled: true`"
    return f"try again later, or {_SEE}"


def _split(image: str) -> tuple[str, str]:
    """Host and name. Docker's short names belong to Docker Hub (distribution/reference, normalize.go)."""
    first, _, rest = image.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return ("registry-1.docker.io", rest) if first == "docker.io" else (first, rest)
    return "registry-1.docker.io", image if rest else f"library/{image}"
