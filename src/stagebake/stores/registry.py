"""Read and write one repository of an OCI registry: manifests, blobs, tags (opencontainers/distribution-spec)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx

from stagebake.cache.backends import SIZE_UNKNOWN, ContentAnswers, SizeAnswers, TaggedVersion
from stagebake.cache.manifest import MANIFEST_TYPE, ManifestAndConfig, sha256_digest
from stagebake.errors import CorruptBlob, RegistryError
from stagebake.http.client import HttpClient, ServerInfo, fetch_all
from stagebake.http.credentials import find_login
from stagebake.http.registry_auth import RegistryAuth
from stagebake.http.route import is_loopback_host

_ACCEPT = ", ".join(
    (
        MANIFEST_TYPE,
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_REDIRECTS = (301, 302, 303, 307, 308)
_DOCS_HINT = "see docs/troubleshooting.md"
# Day on which a manifest without a tag was pushed, in UTC
_DAY_ANNOTATION = "stagebake.day"
_DOCKER_HUB = "registry-1.docker.io"


class Registry:
    """Repository `image` (HOST/NAME) of a registry; satisfies CacheRepository and VersionStore.

    Methods raise RegistryError with the registry's explanation for every failure except "not found". A registry lists
    tags alone (distribution-spec, "Content Discovery").
    """

    lists_untagged = False

    def __init__(self, image: str, clock: Callable[[], float] = time.time) -> None:
        self.image = image
        self._clock = clock
        host, name = _split_image(image)
        scheme = "http" if is_loopback_host(host) else "https"
        login = find_login(host)
        info = ServerInfo(
            where=image,
            server="registry",
            status_hint=partial(_find_hint, host, login.problem if login else ""),
            address_hint=_DOCS_HINT,
            answer_seconds=10.0,
            retry_seconds=20.0,
        )
        base_url = f"{scheme}://{host}/v2/{name}/"
        auth = RegistryAuth(base_url, name, login)
        self._client = HttpClient(info, base_url=base_url, auth=auth)

    def import_source(self, digest: str, tag: str | None) -> str:
        """Return the value of the bake variable CACHE: the digest, which no other build changes."""
        return f"{self.image}@{digest}"

    def read_manifest(self, reference: str) -> bytes | None:
        """Return the manifest of a tag or digest; None where it is missing."""
        response = self._send_if_exists("GET", f"manifests/{reference}", headers={"Accept": _ACCEPT})
        return response.content if response else None

    def read_manifests(self, references: Iterable[str]) -> ContentAnswers:
        """Return the manifests of tags or digests, read in parallel."""
        return fetch_all(self.read_manifest, references)

    def read_blobs(self, digests: Iterable[str]) -> ContentAnswers:
        """Return the contents of blobs, read in parallel."""
        return fetch_all(self._read_blob, digests)

    def read_blob_sizes(self, digests: Iterable[str]) -> SizeAnswers:
        """Return the sizes of blobs in bytes, read in parallel."""
        return fetch_all(self._read_blob_size, digests)

    def hash_blobs(self, digests: Iterable[str]) -> dict[str, str | RegistryError | None]:
        """Read blobs in parallel and return the digest of what each holds; None for a missing one."""
        return fetch_all(self._hash_blob, digests)

    def read_digest(self, tag: str) -> str | None:
        """Return the digest that a tag names; None where it is missing.

        A registry may leave out the header (distribution-spec: SHOULD); then hash the manifest.
        """
        response = self._send_if_exists("HEAD", f"manifests/{tag}", headers={"Accept": _ACCEPT})
        if response is None:
            return None
        digest: str | None = response.headers.get("Docker-Content-Digest")
        if digest:
            return digest
        manifest = self.read_manifest(tag)
        return sha256_digest(manifest) if manifest is not None else None

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Push a cache's config and manifest, under a tag or by digest. Return the manifest's digest.

        A registry keeps a blob that it already has, even one with wrong bytes. Then push the config in another
        spelling, which has another digest. A manifest without a tag names the day, so that it is never older than a day
        when a build reads it: `cache prune` deletes what has no tag after a grace time.
        """
        if tag is None:
            document = document.with_annotation(_DAY_ANNOTATION, _format_day(self._clock()))
        if not self._push_blob(document.config):
            document = document.with_other_config()
            if not self._push_blob(document.config):
                raise self._corrupt_blob(sha256_digest(document.config))
        self._client.send(
            "PUT",
            f"manifests/{tag or document.digest}",
            content=document.manifest,
            headers={"Content-Type": MANIFEST_TYPE},
        )
        return document.digest

    def remove_unused_blobs(self) -> None:
        """Do nothing: the registry or its owner deletes unused blobs."""

    def list_tags(self) -> list[str]:
        """Return all tags, page by page (distribution-spec, "Listing Tags")."""
        tags: list[str] = []
        page: str | None = "tags/list"
        while page is not None:
            response = self._send_if_exists("GET", page)
            if response is None:
                break
            tags += self._parse_tags(response)
            next_page = response.links.get("next")
            page = self._join_url(response.url, next_page["url"]) if next_page else None
        return tags

    def list_versions(self) -> list[TaggedVersion]:
        """Return every tagged digest with all its tags."""
        tags_by_digest: dict[str, set[str]] = {}
        for tag, digest in fetch_all(self.read_digest, self.list_tags()).items():
            if isinstance(digest, RegistryError):
                raise digest
            if digest is not None:
                tags_by_digest.setdefault(digest, set()).add(tag)
        versions = []
        for key, tags in tags_by_digest.items():
            versions.append(TaggedVersion(key=key, tags=frozenset(tags), digest=key))
        return versions

    def delete_version(self, version: TaggedVersion) -> None:
        """Delete a manifest and all its tags. A missing manifest counts as deleted."""
        self._send_if_exists("DELETE", f"manifests/{version.key}")

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _parse_tags(self, response: httpx.Response) -> list[str]:
        try:
            return [str(tag) for tag in response.json().get("tags") or ()]
        except (ValueError, AttributeError, TypeError):
            raise self._unexpected_answer("a list of tags that is not valid") from None

    def _read_blob(self, digest: str) -> bytes | None:
        response = self._send_if_exists("GET", f"blobs/{digest}")
        if response is None:
            return None
        if sha256_digest(response.content) != digest:
            raise self._corrupt_blob(digest)
        return response.content

    def _hash_blob(self, digest: str) -> str | None:
        """Return the digest of a blob's bytes, which are never all in memory."""
        sha256 = self._client.hash_content(f"blobs/{digest}")
        return f"sha256:{sha256}" if sha256 else None

    def _read_blob_size(self, digest: str) -> int | None:
        """Return the size of a blob; SIZE_UNKNOWN where a redirect leads to the storage behind the registry.

        A proxy may answer HEAD without a size, or with 0: the first byte of the blob then tells whether it is empty.
        """
        response = self._send_if_exists(
            "HEAD",
            f"blobs/{digest}",
            accept=_REDIRECTS,
            follow_redirects=False,
        )
        if response is None:
            return None
        if response.is_redirect:
            return SIZE_UNKNOWN
        size = response.headers.get("Content-Length", "")
        if not size.isdecimal():
            return SIZE_UNKNOWN
        if size == "0" and self._client.has_content(f"blobs/{digest}"):
            return SIZE_UNKNOWN
        return int(size)

    def _push_blob(self, content: bytes) -> bool:
        """Push a small blob where it is missing. Return False where the registry has other bytes under its digest."""
        digest = sha256_digest(content)
        existing = self._send_if_exists("GET", f"blobs/{digest}")
        if existing is not None:
            return existing.content == content
        location = self._client.send("POST", "blobs/uploads/").headers.get("Location")
        if location is None:
            raise self._unexpected_answer("no upload address")
        upload_url = httpx.URL(self._join_url(self._client.base_url, location))
        upload_url = upload_url.copy_merge_params({"digest": digest})
        self._client.send("PUT", str(upload_url), content=content)
        return True

    def _join_url(self, base: httpx.URL, location: str) -> str:
        try:
            return str(base.join(location))
        except httpx.InvalidURL as error:
            raise self._unexpected_answer(f"an address that is not valid ({error})") from None

    def _send_if_exists(
        self,
        method: str,
        path: str,
        *,
        accept: Collection[int] = (),
        **arguments: Any,
    ) -> httpx.Response | None:
        """Send a request; return None for HTTP 404."""
        response = self._client.send(method, path, accept=(404, *accept), **arguments)
        return None if response.status_code == 404 else response

    def _corrupt_blob(self, digest: str) -> CorruptBlob:
        return CorruptBlob(f"{self.image}: blob {digest} holds other bytes", _DOCS_HINT)

    def _unexpected_answer(self, content: str) -> RegistryError:
        return RegistryError(f"{self.image}: the registry answered with {content}", _DOCS_HINT)


def _find_hint(host: str, login_problem: str, response: httpx.Response) -> str:
    """Return the hint for a refused request. `login_problem` is why a credential helper gave no login."""
    if response.status_code in (401, 403):
        if login_problem:
            return f"{login_problem}: install or repair it, or remove it from docker's config.json"
        command = "docker login" if host == _DOCKER_HUB else f"docker login {host}"
        return f"log in: {command}; in a workflow: `permissions: packages: write`"
    if response.status_code == 405:
        return "this registry does not delete; a registry of your own needs `storage: delete: enabled: true`"
    return f"try again later, or {_DOCS_HINT}"


def _format_day(seconds: float) -> str:
    """Return the day of a time (seconds since 1970) in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _split_image(image: str) -> tuple[str, str]:
    """Return host and name. Docker's short names belong to Docker Hub (distribution/reference, normalize.go)."""
    first, _, rest = image.partition("/")
    if not rest:
        return _DOCKER_HUB, f"library/{image}"
    if "." in first or ":" in first or first == "localhost":
        return (_DOCKER_HUB, rest) if first == "docker.io" else (first, rest)
    return _DOCKER_HUB, image
