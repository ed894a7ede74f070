"""Caches in the cache service of GitHub Actions, as BuildKit's `type=gha` has them.

BuildKit keeps a cache's config under `index-NAME-1-REF#N`, where REF is a hash of the git ref and the newest counts,
and each layer once for all caches under `buildkit-blob-1-DIGEST` (moby/buildkit, cache/remotecache/gha/gha.go). It
reads the index NAME of every git ref that the run may read, and several caches in one solve are a lottery. So no name
stands for two caches: branches have names of their own, and what a build reads is called by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import stamina

from stagebake.cache.manifest import CONFIG_TYPE, MANIFEST_TYPE, ManifestAndConfig, build_artifact, sha256_digest
from stagebake.cache.repository import SIZE_UNKNOWN
from stagebake.errors import RegistryError
from stagebake.stores.http import fetch_all, is_temporary, parse_answer, require_text

# tonistiigi/go-actions-cache, cache.go: the service keeps entries of different versions apart
_VERSION = hashlib.sha256(b"|go-actionscache-1.0").hexdigest()
_V1_TYPE = "application/json;api-version=6.0-preview.1"
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_WRITE = 2
_TRIES = 5
_WHO = "gha: the cache service"

NO_CACHE_SERVICE = (
    "no cache is read or saved: what leads to GitHub's cache service is missing or wrong, ACTIONS_RUNTIME_TOKEN or "
    "ACTIONS_CACHE_URL (ACTIONS_RESULTS_URL where ACTIONS_CACHE_SERVICE_V2 is set); see docs/backends.md"
)


@dataclass(frozen=True, kw_only=True)
class ServiceEntry:
    """What the service found: the whole key, and where the content is."""

    key: str
    url: str


class CacheService(Protocol):
    """A version of the cache service."""

    def find(self, prefix: str) -> ServiceEntry | None:
        """The newest entry whose key starts so."""

    def read(self, url: str) -> bytes:
        """The content of an entry."""

    def save(self, key: str, content: bytes) -> bool:
        """Saves an entry; False where there is one, or somebody is writing it."""

    def close(self) -> None: ...


class GithubCache:
    """The caches that one run may reach, with the interface of a registry's repository. Raises RegistryError."""

    def __init__(self, image: str, service: CacheService, reads: tuple[str, ...], writes: str | None) -> None:
        """`reads` and `writes` are the git refs whose entries the run may read, nearest first, and write."""
        self.image = image
        self._service = service
        self._reads, self._writes = reads, writes
        self._contents: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}

    def import_source(self, digest: str, tag: str | None) -> str:
        """What the variable CACHE of a bake file says to read the cache with this tag or digest."""
        return f"{self.image}:{tag or _tag(digest)}"

    def read_manifests(self, references: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        """The manifests of tags or digests; None for what is not there, the error for what failed."""
        return fetch_all(self.read_manifest, references)

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        """What the manifests asked for before have named; None for others."""
        return {digest: self._contents.get(digest) for digest in digests}

    def read_blob_sizes(self, digests: Iterable[str]) -> dict[str, int | RegistryError | None]:
        """UNTOLD for blobs that are there; None for what is not there, the error for what failed."""
        return fetch_all(self._size, digests)

    def read_manifest(self, reference: str) -> bytes | None:
        """The manifest of a tag, made of its index; of a digest only where its tag was asked for before."""
        if reference.startswith("sha256:"):
            return self._manifests.get(reference)
        for ref in self._reads:
            if entry := self._service.find(self._index(reference, ref)):
                return self._remember(self._service.read(entry.url))
        return None

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        """Saves a config under a tag, else under its digest's name. Returns the manifest's digest."""
        if self._writes is None:
            raise RegistryError("gha: this run may not write caches", "its token says so; see docs/backends.md")
        prefix = self._index(tag or _tag(document.digest), self._writes)
        newest = self._service.find(prefix)
        if newest is None or tag:
            self._save_next(prefix, newest, document.config)
        return document.digest

    def remove_unused_blobs(self) -> None:
        """GitHub removes by itself what was not read for a week, and the oldest where there is too much."""

    def _save_next(self, prefix: str, newest: ServiceEntry | None, content: bytes) -> None:
        number = _number(prefix, newest.key) if newest else 0
        for later in range(1, _TRIES + 1):
            if self._service.save(f"{prefix}{number + later}", content):
                return
        raise RegistryError(f"gha: {prefix}{number + 1} is being written by another run", "run this again")

    def _index(self, tag: str, ref: str) -> str:
        return f"index-{self.image}:{tag}-1-{hashlib.sha256(ref.encode()).hexdigest()[:8]}#"

    def _size(self, digest: str) -> int | None:
        return SIZE_UNKNOWN if self._service.find(f"buildkit-blob-1-{digest}") else None

    def _remember(self, content: bytes) -> bytes:
        manifest = _manifest(content)
        self._contents[sha256_digest(content)] = content
        self._manifests[sha256_digest(manifest)] = manifest
        return manifest


class _Http:
    """What both versions ask with."""

    def __init__(self) -> None:
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=True)

    def read(self, url: str) -> bytes:
        return self._request("GET", url).content

    def close(self) -> None:
        self._http.close()

    def _request(self, method: str, url: str, *, there: tuple[int, ...] = (), **arguments: Any) -> httpx.Response:
        """One request, tried again where the failure may pass; the statuses in `there` are answers too."""
        try:
            for attempt in stamina.retry_context(on=is_temporary, attempts=4, timeout=60.0, wait_initial=0.2):
                with attempt:
                    response = self._http.request(method, url, **arguments)
                    if response.is_error and response.status_code not in there:
                        response.raise_for_status()
        except httpx.HTTPStatusError as error:
            said = f"{error.response.status_code} {error.response.reason_phrase}"
            raise RegistryError(f"{_WHO} answered {said}", "try again later") from None
        except httpx.HTTPError as error:
            name = type(error).__name__
            raise RegistryError(f"{_WHO} is not reached ({name})", "is the network up?") from None
        except (httpx.InvalidURL, UnicodeError) as error:
            raise RegistryError(
                f"{_WHO} is not reached: its address is none ({error})", "see docs/backends.md"
            ) from None
        return response


class ServiceV1(_Http):
    """actions/toolkit, packages/cache/src/internal/cacheHttpClient.ts, before its version 4."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self._base = f"{url.rstrip('/')}/_apis/artifactcache/"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": _V1_TYPE}

    def find(self, prefix: str) -> ServiceEntry | None:
        answer = self._call("GET", "cache", params={"keys": prefix, "version": _VERSION})
        if answer.status_code != 200 or not answer.content:
            return None
        return parse_answer(answer, _WHO, self._entry)

    def save(self, key: str, content: bytes) -> bool:
        body = {"key": key, "version": _VERSION, "cacheSize": len(content)}
        answer = self._call("POST", "caches", json=body, there=(400, 409))
        if answer.is_error:
            return False
        number = parse_answer(answer, _WHO, self._id)
        part = {"Content-Type": "application/octet-stream", "Content-Range": f"bytes 0-{len(content) - 1}/*"}
        self._call("PATCH", f"caches/{number}", content=content, headers=part)
        self._call("POST", f"caches/{number}", json={"size": len(content)})
        return True

    @staticmethod
    def _entry(found: Any) -> ServiceEntry | None:
        there = bool(found.get("cacheKey"))
        return (
            ServiceEntry(key=require_text(found["cacheKey"]), url=require_text(found["archiveLocation"]))
            if there
            else None
        )

    @staticmethod
    def _id(reserved: Any) -> int:
        return int({name.lower(): value for name, value in reserved.items()}["cacheid"])

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = self._headers | arguments.pop("headers", {})
        return self._request(method, self._base + path, headers=headers, **arguments)


class ServiceV2(_Http):
    """actions/toolkit, packages/cache/src/generated/results/api/v1/cache.ts, and Azure's blobs behind it."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self._base = f"{url.rstrip('/')}/twirp/github.actions.results.api.v1.CacheService/"
        self._headers = {"Authorization": f"Bearer {token}"}

    def find(self, prefix: str) -> ServiceEntry | None:
        answer = self._call("GetCacheEntryDownloadURL", {"key": prefix, "restore_keys": [prefix]})
        return parse_answer(answer, _WHO, self._entry)

    def save(self, key: str, content: bytes) -> bool:
        answer = self._call("CreateCacheEntry", {"key": key}, there=(409,))
        url = None if answer.is_error else parse_answer(answer, _WHO, self._place)
        if url is None:
            return False
        blob = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        self._request("PUT", url, content=content, headers=blob)
        self._call("FinalizeCacheEntryUpload", {"key": key, "size_bytes": str(len(content))})
        return True

    @staticmethod
    def _entry(found: Any) -> ServiceEntry | None:
        there = bool(found.get("ok"))
        return (
            ServiceEntry(key=require_text(found["matched_key"]), url=require_text(found["signed_download_url"]))
            if there
            else None
        )

    @staticmethod
    def _place(reserved: Any) -> str | None:
        return require_text(reserved["signed_upload_url"]) if reserved.get("ok") else None

    def _call(self, method: str, body: Mapping[str, Any], there: tuple[int, ...] = ()) -> httpx.Response:
        full = {**body, "version": _VERSION}
        return self._request("POST", self._base + method, json=full, headers=self._headers, there=there)


def connect_cache_service(image: str, environment: Mapping[str, str]) -> GithubCache | None:
    """The caches of an image, for the run that this environment is of; None where it does not say how to reach them.

    The same variables lead buildx there (docker/buildx, util/buildflags/cache.go).
    """
    token = environment.get("ACTIONS_RUNTIME_TOKEN")
    newer = environment.get("ACTIONS_CACHE_SERVICE_V2", "").lower() in ("1", "t", "true")
    url = environment.get("ACTIONS_RESULTS_URL" if newer else "ACTIONS_CACHE_URL")
    if not token or not url:
        return None
    try:
        reads, writes = _refs(token)
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return GithubCache(image, (ServiceV2 if newer else ServiceV1)(url, token), reads, writes)


def _refs(token: str) -> tuple[tuple[str, ...], str | None]:
    """The git refs whose entries a run may read, its own first, and the one that it may write.

    They stand in the claim `ac` of its token (tonistiigi/go-actions-cache, cache.go).
    """
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    scopes = [(str(entry["Scope"]), int(entry["Permission"])) for entry in json.loads(claims["ac"])]
    writes = next((scope for scope, permission in reversed(scopes) if permission & _WRITE), None)
    own = () if writes is None else (writes,)
    return tuple(dict.fromkeys((*own, *(scope for scope, _ in scopes)))), writes


def _number(prefix: str, key: str) -> int:
    """The number at the end of an index's key. Raises RegistryError."""
    number = key.removeprefix(prefix)
    if not number.isdecimal():
        raise RegistryError(f"{_WHO} was asked for {prefix}N and found {key}", "run this again")
    return int(number)


def _tag(digest: str) -> str:
    return f"composed-{digest.removeprefix('sha256:')[:32]}"


def _manifest(config: bytes) -> bytes:
    """The manifest that a registry would have: what it says of a cache's layers stands here in the config itself.

    What is no cache is an artifact of which nothing is known.
    """
    try:
        layers = [_descriptor(layer["blob"], layer["annotations"]) for layer in json.loads(config).get("layers") or []]
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return build_artifact(config, "application/octet-stream").manifest
    descriptor = {"mediaType": CONFIG_TYPE, "digest": sha256_digest(config), "size": len(config)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": descriptor, "layers": layers}
    return json.dumps(document).encode()


def _descriptor(blob: str, notes: Mapping[str, Any]) -> dict[str, Any]:
    return {"mediaType": notes.get("mediaType", ""), "digest": blob, "size": int(notes["size"])}
