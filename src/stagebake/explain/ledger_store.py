"""Store ledgers: beside the caches in the image's repository, and as a copy in the user's cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from stagebake.cache.manifest import LEDGER_TYPE, InvalidCache, ManifestAndConfig, build_artifact, layer_sizes
from stagebake.cache.scopes import Access, Scope
from stagebake.errors import RegistryError
from stagebake.explain.ledger import Ledger, LedgerEntry, merge_ledgers, parse_ledger, serialize_ledger
from stagebake.files import write_file


class LedgerRepository(Protocol):
    """Part of a cache repository that ledgers need; `stores.registry.Registry` is one."""

    def read_manifest(self, reference: str) -> bytes | None: ...

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]: ...

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str: ...


class LedgerStore:
    """Ledgers of one image; `repository` is None without a registry, `home` is the user's cache folder if any."""

    def __init__(self, image: str, repository: LedgerRepository | None, home: Path | None) -> None:
        self._image = image
        self._repository = repository
        self._home = home

    def read_ledgers(self, access: Access) -> tuple[Ledger, ...]:
        """Return the ledgers of the scopes that a build reads, nearest first; an empty one where reading fails."""
        ledgers: list[Ledger] = []
        for scope in access.reads:
            stored = self._read_stored(scope)
            local = self._read_local(scope)
            ledgers.append(merge_ledgers((stored, local)))
        return tuple(ledgers)

    def add_build(self, access: Access, entries: Mapping[str, LedgerEntry], overhead: float) -> tuple[str, ...]:
        """Add a build to the local ledger of the nearest scope, and to the stored ledger of the scope that it writes.

        `overhead` are the seconds that the build took beside its stages. Returns warnings.
        """
        nearest = access.reads[0]
        try:
            self._write_local(nearest, entries, overhead)
            if self._repository and access.writes is not None:
                self._write_stored(self._repository, access.writes, entries, overhead)
        except (RegistryError, OSError) as error:
            return (f"ledger not written; later builds can explain less: {error}",)
        return ()

    def _write_local(
        self,
        scope: Scope,
        entries: Mapping[str, LedgerEntry],
        overhead: float,
    ) -> None:
        path = self._local_path(scope)
        if path is not None:
            ledger = self._read_local(scope).with_build(entries, overhead)
            write_file(path, serialize_ledger(ledger))

    def _write_stored(
        self,
        repository: LedgerRepository,
        scope: Scope,
        entries: Mapping[str, LedgerEntry],
        overhead: float,
    ) -> None:
        ledger = self._read_stored(scope).with_build(entries, overhead)
        artifact = build_artifact(serialize_ledger(ledger), LEDGER_TYPE)
        repository.push_manifest(artifact, scope.ledger_tag)

    def _read_stored(self, scope: Scope) -> Ledger:
        if self._repository is None:
            return Ledger()
        try:
            manifest = self._repository.read_manifest(scope.ledger_tag) or b"{}"
            blobs = self._repository.read_blobs(layer_sizes(manifest))
            (content,) = blobs.values()
        except (RegistryError, InvalidCache, ValueError):
            return Ledger()
        return parse_ledger(content if isinstance(content, bytes) else None)

    def _read_local(self, scope: Scope) -> Ledger:
        path = self._local_path(scope)
        if path is None:
            return Ledger()
        try:
            content = path.read_bytes()
        except OSError:
            return Ledger()
        return parse_ledger(content)

    def _local_path(self, scope: Scope) -> Path | None:
        if self._home is None:
            return None
        key = f"{self._image}{scope.suffix}".encode("utf-8", "surrogateescape")
        name = hashlib.sha256(key).hexdigest()[:16]
        return self._home / "ledgers" / f"{name}.xz"
