"""Ledgers beside the caches and on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stagebake.cache.manifest import ManifestAndConfig, sha256_digest
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope
from stagebake.errors import RegistryError
from stagebake.explain.ledger import Ledger, LedgerEntry, parse_ledger, serialize_ledger
from stagebake.explain.ledger_store import LedgerStore
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.stores.oci_layout import OciLayout

BRANCH = Scope("feature/x")
PUSH = Access(reads=(BRANCH, DEFAULT_SCOPE), writes=BRANCH)
LOOK = Access(reads=(BRANCH, DEFAULT_SCOPE), writes=None)


def made(value: str, when: int = 1) -> dict[str, LedgerEntry]:
    return {"app": LedgerEntry(fingerprint=Fingerprint("app", (Part("file", "a", value),)), when=when)}


def values(book: Ledger) -> list[str]:
    return [result.fingerprint.parts[0].value for result in book.find_entries("app")]


class Down:
    """A registry that answers nothing."""

    def read_manifest(self, reference: str) -> bytes | None:
        raise RegistryError(f"{reference}: not reached", "is the network up?")

    def read_blobs(self, digests: Iterable[str]) -> dict[str, bytes | RegistryError | None]:
        raise AssertionError(f"there is no manifest that names {digests}")

    def push_manifest(self, document: ManifestAndConfig, tag: str | None = None) -> str:
        raise RegistryError(f"{tag}: {document.digest} not reached", "is the network up?")


def test_what_is_pushed_is_there_for_others(tmp_path: Path) -> None:
    """Another machine reads the branch's ledger, and the default branch's has nothing of it."""
    store = OciLayout(tmp_path / "store")
    (tmp_path / "store").mkdir()
    assert LedgerStore("i", store, tmp_path / "mine").add_build(PUSH, made("1"), 1.0) == ()
    branch, default = LedgerStore("i", store, tmp_path / "theirs").read_ledgers(LOOK)
    assert (values(branch), values(default), branch.overhead) == (["1"], [], 1.0)


def test_what_is_not_pushed_stays_here(tmp_path: Path) -> None:
    """A build without --push is remembered on this machine, and only there; not for another image."""
    store = OciLayout(tmp_path / "store")
    (tmp_path / "store").mkdir()
    mine = LedgerStore("i", store, tmp_path / "mine")
    mine.add_build(PUSH, made("1", when=1), 1.0)
    assert mine.add_build(LOOK, made("2", when=2), 1.0) == ()
    assert values(mine.read_ledgers(LOOK)[0]) == ["2", "1"]
    assert values(LedgerStore("i", store, tmp_path / "theirs").read_ledgers(LOOK)[0]) == ["1"]
    assert values(LedgerStore("other", None, tmp_path / "mine").read_ledgers(LOOK)[0]) == []


def test_a_registry_that_does_not_answer_costs_a_warning(tmp_path: Path) -> None:
    """The own copy is written and read all the same."""
    books = LedgerStore("i", Down(), tmp_path)
    (warning,) = books.add_build(PUSH, made("1"), 1.0)
    assert "ledger not written" in warning
    assert values(books.read_ledgers(LOOK)[0]) == ["1"]


def test_garbage_under_the_tag_is_no_ledger(tmp_path: Path) -> None:
    """Whatever lies under the tag, or in the own copy, reading does no harm, and the next build writes it anew."""
    store = OciLayout(tmp_path / "store")
    (tmp_path / "store").mkdir()
    for manifest in (b"{}", b"garbage", b'{"layers": 3}', b'{"layers": [{"digest": "sha256:0", "size": 1}]}'):
        store.push_manifest(ManifestAndConfig(manifest=manifest, config=b"x"), BRANCH.ledger_tag)
        books = LedgerStore("i", store, tmp_path / sha256_digest(manifest))
        assert values(books.read_ledgers(LOOK)[0]) == []
        assert books.add_build(PUSH, made("1"), 1.0) == ()
        assert values(books.read_ledgers(LOOK)[0]) == ["1"]


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    """The home is a file: there is no ledger, and no error."""
    (tmp_path / "home").write_text("a file")
    books = LedgerStore("i", None, tmp_path / "home")
    assert books.read_ledgers(LOOK) == (Ledger(), Ledger())
    assert len(books.add_build(LOOK, made("1"), 1.0)) == 1


def test_the_same_bytes_say_the_same() -> None:
    """A stored ledger is named by what it holds, so that nothing changes where nothing changed."""
    book = Ledger().with_build(made("1"), 1.0)
    assert serialize_ledger(parse_ledger(serialize_ledger(book))) == serialize_ledger(book)
