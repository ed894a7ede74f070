"""Store caches in the cache service of GitHub Actions, in the format of BuildKit's `type=gha`.

BuildKit stores a cache's config under the key `index-NAME-1-REF#N`, where REF is a hash of the git ref and the highest
N counts. It stores each layer once for all caches under `buildkit-blob-1-DIGEST` (moby/buildkit,
cache/remotecache/gha/gha.go). BuildKit reads the index NAME of every git ref that the run may read, and cannot read
several caches reliably in one solve. So a name never names two caches: each branch has its own names, and the
cache that a build imports is named by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from stagebake.cache.backends import SIZE_UNKNOWN, ContentAnswers, SizeAnswers
from stagebake.cache.manifest import ManifestAndConfig, build_artifact, build_manifest, sha256_digest
from stagebake.errors import RegistryError
from stagebake.http.client import HttpClient, ServerInfo, fetch_all, require_text

# tonistiigi/go-actions-cache, cache.go: the service separates entries of different versions
_VERSION = hashlib.sha256(b"|go-actionscache-1.0").hexdigest()
_V1_TYPE = "application/json;api-version=6.0-preview.1"
_V1_PATH = "_apis/artifactcache/"
_V2_PATH = "twirp/github.actions.results.api.v1.CacheService/"
# Bit of a token's permission to write a git ref's caches
_WRITE = 2
# Index numbers that are tried where other runs write at the same time
_SAVE_ATTEMPTS = 5

NO_CACHE_SERVICE = (
    "no cache is read or saved: GitHub's cache service is unknown. ACTIONS_RUNTIME_TOKEN or ACTIONS_CACHE_URL "
    "(ACTIONS_RESULTS_URL where ACTIONS_CACHE_SERVICE_V2 is set) is missing or not valid; see docs/backends.md"
)


@dataclass(frozen=True, kw_only=True)
class ServiceEntry:
    """Entry that the service found: its whole key, and the URL of its content."""

    key: str
    url: str


class CacheService(Protocol):
    """Version of the cache service's protocol. Methods raise RegistryError."""

    def find_entry(self, prefix: str) -> ServiceEntry | None:
        """Return the newest entry whose key starts with the prefix."""

    def read_entry(self, url: str) -> bytes:
        """Return the content of an entry."""

    def save_entry(self, key: str, content: bytes) -> bool:
        """Save an entry. Return False where the key exists or another run is writing it."""

    def close(self) -> None:
        """Close all connections."""


class GithubCache:
    """Caches of an image that one workflow run can reach; satisfies CacheRepository.

    `reads` are the git refs whose entries the run may read, nearest first; `writes` is the one that it may write.
    Methods raise RegistryError.
    """

    def __init__(
        self,
        image: str,
        service: CacheService,
        reads: tuple[str, ...],
        writes: str | None,
    ) -> None:
        self.image = image
        self._service = service
        self._reads = reads
        self._writes = writes
        self._configs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}

    def import_source(self, digest: str, tag: str | None) -> str:
        """Return the value of the bake variable CACHE: the name of the cache with this tag or digest."""
        return f"{self.image}:{tag or _name_by_digest(digest)}"

    def read_manifest(self, reference: str) -> bytes | None:
        """Return the manifest of a tag, built from its index; of a digest, only if its tag was read before."""
        if reference.startswith("sha256:"):
            return self._manifests.get(reference)
        for git_ref in self._reads:
            entry = self._service.find_entry(self._index_prefix(reference, git_ref))
            if entry is not None:
                return self._store_config(self._service.read_entry(entry.url))
        return None

    def read_manifests(self, references: Iterable[str]) -> ContentAnswers:
        """Return the manifests of tags or digests, read in parallel."""
        return fetch_all(self.read_manifest, references)

    def read_blobs(self, digests: Iterable[str]) -> ContentAnswers:
        """Return the configs of manifests that were read before; None for other blobs."""
        return {digest: self._configs.get(digest) for digest in digests}

    def read_blob_sizes(self, digests: Iterable[str]) -> SizeAnswers:
        """Return SIZE_UNKNOWN for blobs that exist, found in parallel."""
        return fetch_all(self._find_blob, digests)

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Save a config under a tag, else under a name made from its digest. Return the manifest's digest."""
        if self._writes is None:
            raise RegistryError("gha: this run may not write caches", "its token forbids it; see docs/backends.md")
        prefix = self._index_prefix(tag or _name_by_digest(document.digest), self._writes)
        newest = self._service.find_entry(prefix)
        if newest is None:
            self._save_index(prefix, 1, document.config)
        elif tag:
            newest_number = _parse_number(prefix, newest.key)
            self._save_index(prefix, newest_number + 1, document.config)
        return document.digest

    def remove_unused_blobs(self) -> None:
        """Do nothing: GitHub deletes entries that were not read for a week, and the oldest ones over its limit."""

    def _save_index(self, prefix: str, first_number: int, content: bytes) -> None:
        for number in range(first_number, first_number + _SAVE_ATTEMPTS):
            if self._service.save_entry(f"{prefix}{number}", content):
                return
        raise RegistryError(f"gha: another run is writing {prefix}{first_number}", "run this again")

    def _index_prefix(self, tag: str, git_ref: str) -> str:
        ref_hash = hashlib.sha256(git_ref.encode()).hexdigest()[:8]
        return f"index-{self.image}:{tag}-1-{ref_hash}#"

    def _find_blob(self, digest: str) -> int | None:
        entry = self._service.find_entry(f"buildkit-blob-1-{digest}")
        return SIZE_UNKNOWN if entry else None

    def _store_config(self, config: bytes) -> bytes:
        manifest = _build_manifest(config)
        self._configs[sha256_digest(config)] = config
        self._manifests[sha256_digest(manifest)] = manifest
        return manifest


class _HttpService:
    """Base of both versions of the service: the client, the base URL and the headers."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        info = ServerInfo(
            where="gha",
            server="GitHub's cache service",
            status_hint=lambda _response: "try again later: githubstatus.com",
            address_hint="see docs/backends.md",
            retry_seconds=60.0,
        )
        self._client = HttpClient(info)
        self._base_url = f"{url.rstrip('/')}/{path}"
        # Not headers of the client: the URLs of contents are signed and must not get the token
        self._headers = headers

    def read_entry(self, url: str) -> bytes:
        """Return the content of an entry."""
        return self._client.send("GET", url).content

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class ServiceV1(_HttpService):
    """Version 1 (actions/toolkit, packages/cache/src/internal/cacheHttpClient.ts, before its version 4)."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": _V1_TYPE}
        super().__init__(url, _V1_PATH, headers)

    def find_entry(self, prefix: str) -> ServiceEntry | None:
        """Return the newest entry whose key starts with the prefix."""
        response = self._call_path("GET", "cache", params={"keys": prefix, "version": _VERSION})
        if response.status_code != 200 or not response.content:
            return None
        return self._client.parse_json(response, self._parse_entry)

    def save_entry(self, key: str, content: bytes) -> bool:
        """Reserve the key, upload the content, commit it. Return False where the key exists or is being written."""
        reservation = {"key": key, "version": _VERSION, "cacheSize": len(content)}
        response = self._call_path("POST", "caches", json=reservation, accept=(400, 409))
        if response.is_error:
            return False
        cache_id = self._client.parse_json(response, self._parse_id)
        part_headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes 0-{len(content) - 1}/*",
        }
        self._call_path("PATCH", f"caches/{cache_id}", content=content, headers=part_headers)
        self._call_path("POST", f"caches/{cache_id}", json={"size": len(content)})
        return True

    @staticmethod
    def _parse_entry(document: Any) -> ServiceEntry | None:
        if not document.get("cacheKey"):
            return None
        key = require_text(document["cacheKey"])
        return ServiceEntry(key=key, url=require_text(document["archiveLocation"]))

    @staticmethod
    def _parse_id(document: Any) -> int:
        # Servers differ in the case of `cacheId`
        fields = {name.lower(): value for name, value in document.items()}
        return int(fields["cacheid"])

    def _call_path(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {**self._headers, **arguments.pop("headers", {})}
        return self._client.send(method, self._base_url + path, headers=headers, **arguments)


class ServiceV2(_HttpService):
    """Version 2 (actions/toolkit, packages/cache/src/generated/results/api/v1/cache.ts), with Azure's blob storage."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        super().__init__(url, _V2_PATH, headers)

    def find_entry(self, prefix: str) -> ServiceEntry | None:
        """Return the newest entry whose key starts with the prefix."""
        response = self._call_method("GetCacheEntryDownloadURL", {"key": prefix, "restore_keys": [prefix]})
        return self._client.parse_json(response, self._parse_entry)

    def save_entry(self, key: str, content: bytes) -> bool:
        """Reserve the key, upload the content, commit it. Return False where the key exists or is being written."""
        response = self._call_method("CreateCacheEntry", {"key": key}, accept=(409,))
        if response.is_error:
            return False
        upload_url = self._client.parse_json(response, self._parse_upload_url)
        if upload_url is None:
            return False
        blob_headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        self._client.send("PUT", upload_url, content=content, headers=blob_headers)
        self._call_method("FinalizeCacheEntryUpload", {"key": key, "size_bytes": str(len(content))})
        return True

    @staticmethod
    def _parse_entry(document: Any) -> ServiceEntry | None:
        if not document.get("ok"):
            return None
        key = require_text(document["matched_key"])
        return ServiceEntry(key=key, url=require_text(document["signed_download_url"]))

    @staticmethod
    def _parse_upload_url(document: Any) -> str | None:
        return require_text(document["signed_upload_url"]) if document.get("ok") else None

    def _call_method(
        self,
        method: str,
        body: Mapping[str, Any],
        accept: Collection[int] = (),
    ) -> httpx.Response:
        return self._client.send(
            "POST",
            self._base_url + method,
            json={**body, "version": _VERSION},
            headers=self._headers,
            accept=accept,
        )


def connect_cache_service(image: str, environment: Mapping[str, str]) -> GithubCache | None:
    """Return the caches of an image for the workflow run of this environment; None where it names no service.

    buildx reads the same variables (docker/buildx, util/buildflags/cache.go).
    """
    token = environment.get("ACTIONS_RUNTIME_TOKEN")
    uses_v2 = environment.get("ACTIONS_CACHE_SERVICE_V2", "").lower() in ("1", "t", "true")
    url = environment.get("ACTIONS_RESULTS_URL" if uses_v2 else "ACTIONS_CACHE_URL")
    if not token or not url:
        return None
    try:
        reads, writes = _parse_token(token)
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    service = ServiceV2(url, token) if uses_v2 else ServiceV1(url, token)
    return GithubCache(image, service, reads, writes)


def _parse_token(token: str) -> tuple[tuple[str, ...], str | None]:
    """Return the git refs whose entries a run may read, its own first, and the one that it may write.

    They are in the claim `ac` of the JSON web token (tonistiigi/go-actions-cache, cache.go).
    """
    body = token.split(".")[1]
    padding = "=" * (-len(body) % 4)
    claims = json.loads(base64.urlsafe_b64decode(body + padding))
    reads: list[str] = []
    writes: str | None = None
    for entry in json.loads(claims["ac"]):
        git_ref = str(entry["Scope"])
        reads.append(git_ref)
        if int(entry["Permission"]) & _WRITE:
            writes = git_ref
    if writes is not None:
        reads.insert(0, writes)
    return tuple(dict.fromkeys(reads)), writes


def _parse_number(prefix: str, key: str) -> int:
    """Return the number at the end of an index's key. Raises RegistryError where the service found another key."""
    number = key.removeprefix(prefix)
    if not number.isdecimal():
        raise RegistryError(f"gha: unexpected key {key} instead of {prefix}N", "run this again")
    return int(number)


def _name_by_digest(digest: str) -> str:
    return f"composed-{digest.removeprefix('sha256:')[:32]}"


def _build_manifest(config: bytes) -> bytes:
    """Build the manifest that a registry would store: the config has each layer's descriptor as annotations.

    Content that is not a cache becomes an artifact without a known media type.
    """
    try:
        layers = []
        for layer in json.loads(config).get("layers") or []:
            layers.append(_describe_layer(layer["blob"], layer["annotations"]))
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return build_artifact(config, "application/octet-stream").manifest
    return build_manifest(config, layers)


def _describe_layer(digest: str, annotations: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "mediaType": annotations.get("mediaType", ""),
        "digest": digest,
        "size": int(annotations["size"]),
    }
