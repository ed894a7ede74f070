"""Store ledgers beside the caches and on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from stagebake.cache.manifest import ManifestAndConfig, sha256_digest
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope
from stagebake.errors import RegistryError
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.ledger_store import LedgerStore
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.stores.oci_layout import OciLayout

BRANCH = Scope("feature/x")
PUSH = Access(reads=(BRANCH, DEFAULT_SCOPE), writes=BRANCH)
LOOK = Access(reads=(BRANCH, DEFAULT_SCOPE), writes=None)


def make_entries(value: str, when: int = 1) -> dict[str, LedgerEntry]:
    part = Part("file", "a", value)
    fingerprint = Fingerprint("app", (part,))
    return {"app": LedgerEntry(fingerprint=fingerprint, when=when)}


def read_values(ledger: Ledger) -> list[str]:
    """Return the values that the ledger's entries were made with."""
    return [entry.fingerprint.parts[0].value for entry in ledger.find_entries("app")]


def read_nearest(store: LedgerStore) -> list[str]:
    nearest, _ = store.read_ledgers(LOOK)
    return read_values(nearest)


@pytest.fixture
def repository(tmp_path: Path) -> OciLayout:
    folder = tmp_path / "store"
    folder.mkdir()
    return OciLayout(folder)


class DownRegistry:
    """Registry that does not answer."""

    def read_manifest(self, reference: str) -> bytes | None:
        raise RegistryError(f"{reference}: not reached", "is the network up?")

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        raise AssertionError(f"there is no manifest that names {digests}")

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        raise RegistryError(f"{tag}: {document.digest} not reached", "is the network up?")


def test_add_build_pushed_is_read_by_other_machines(tmp_path: Path, repository: OciLayout) -> None:
    """Write to the branch's ledger only, not to that of the default branch."""
    mine = LedgerStore("i", repository, tmp_path / "mine")
    theirs = LedgerStore("i", repository, tmp_path / "theirs")
    assert mine.add_build(PUSH, make_entries("1"), 1.0) == ()
    branch, default = theirs.read_ledgers(LOOK)
    assert read_values(branch) == ["1"]
    assert branch.overhead == 1.0
    assert read_values(default) == []


def test_add_build_not_pushed_stays_on_this_machine(tmp_path: Path, repository: OciLayout) -> None:
    """Keep the ledgers of other images apart."""
    mine = LedgerStore("i", repository, tmp_path / "mine")
    theirs = LedgerStore("i", repository, tmp_path / "theirs")
    other_image = LedgerStore("other", None, tmp_path / "mine")
    mine.add_build(PUSH, make_entries("1", when=1), 1.0)
    assert mine.add_build(LOOK, make_entries("2", when=2), 1.0) == ()
    assert read_nearest(mine) == ["2", "1"]
    assert read_nearest(theirs) == ["1"]
    assert read_nearest(other_image) == []


def test_add_build_without_a_home_is_read_from_the_registry_alone(repository: OciLayout) -> None:
    store = LedgerStore("i", repository, None)
    assert store.add_build(PUSH, make_entries("1"), 0) == ()
    assert read_nearest(store) == ["1"]
    alone = LedgerStore("i", None, None)
    assert alone.add_build(PUSH, make_entries("1"), 0) == ()
    assert read_nearest(alone) == []


def test_add_build_registry_down_warns_and_writes_the_local_ledger(tmp_path: Path) -> None:
    store = LedgerStore("i", DownRegistry(), tmp_path)
    (warning,) = store.add_build(PUSH, make_entries("1"), 1.0)
    assert "ledger not written" in warning
    assert read_nearest(store) == ["1"]


@pytest.mark.parametrize(
    "manifest",
    [b"{}", b"garbage", b'{"layers": 3}', b'{"layers": [{"digest": "sha256:0", "size": 1}]}'],
)
def test_read_ledgers_tag_holds_no_ledger_is_empty_until_the_next_build(
    tmp_path: Path, repository: OciLayout, manifest: bytes
) -> None:
    document = ManifestAndConfig(manifest=manifest, config=b"x")
    repository.push_manifest(document, BRANCH.ledger_tag)
    store = LedgerStore("i", repository, tmp_path / sha256_digest(manifest))
    assert read_nearest(store) == []
    assert store.add_build(PUSH, make_entries("1"), 1.0) == ()
    assert read_nearest(store) == ["1"]


def test_add_build_home_not_writable_warns(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    store = LedgerStore("i", None, home)
    assert store.read_ledgers(LOOK) == (Ledger(), Ledger())
    warnings = store.add_build(LOOK, make_entries("1"), 1.0)
    assert len(warnings) == 1
