"""Where ledgers are kept: beside the caches in the image's repository, and a copy of one's own on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from stagebake.cache.manifest import InvalidCache, ManifestAndConfig, build_artifact, layer_sizes
from stagebake.cache.scopes import Access, Scope
from stagebake.errors import RegistryError
from stagebake.explain.ledger import LEDGER_TYPE, Ledger, LedgerEntry, merge_ledgers, parse_ledger, serialize_ledger
from stagebake.files import write_file


class LedgerRepository(Protocol):
    """What this module asks of the place where caches lie; `registry.Registry` is one."""

    def read_manifest(self, reference: str) -> bytes | None: ...

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str: ...


class LedgerStore:
    """The ledgers of one image; `store` is None where no registry is known, `home` is the user's own folder."""

    def __init__(self, image: str, store: LedgerRepository | None, home: Path) -> None:
        self._image = image
        self._store = store
        self._home = home

    def read(self, access: Access) -> tuple[Ledger, ...]:
        """The ledgers of the scopes that a build reads, nearest first; an empty one for what cannot be read."""
        return tuple(merge_ledgers((self._stored(scope), self._own(scope))) for scope in access.reads)

    def write(self, access: Access, built: Mapping[str, LedgerEntry], rest: float) -> tuple[str, ...]:
        """Adds a build to the own copy for the nearest scope, and to the ledger beside the caches of one it writes.

        Returns what went wrong, in words.
        """
        near, scope = access.reads[0], access.writes
        try:
            write_file(self._path(near), serialize_ledger(self._own(near).with_build(built, rest)))
            if self._store and scope is not None:
                stored = serialize_ledger(self._stored(scope).with_build(built, rest))
                self._store.push_manifest(build_artifact(stored, LEDGER_TYPE), scope.ledger_tag)
        except (RegistryError, OSError) as error:
            return (f"the ledger was not written, so later builds know less of why: {error}",)
        return ()

    def _stored(self, scope: Scope) -> Ledger:
        if self._store is None:
            return Ledger()
        try:
            manifest = self._store.read_manifest(scope.ledger_tag) or b"{}"
            (content,) = self._store.read_blobs(layer_sizes(manifest)).values()
        except (RegistryError, InvalidCache, ValueError):
            return Ledger()
        return parse_ledger(content if isinstance(content, bytes) else None)

    def _own(self, scope: Scope) -> Ledger:
        try:
            return parse_ledger(self._path(scope).read_bytes())
        except OSError:
            return Ledger()

    def _path(self, scope: Scope) -> Path:
        name = hashlib.sha256(f"{self._image}{scope.suffix}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self._home / "ledgers" / f"{name}.xz"
