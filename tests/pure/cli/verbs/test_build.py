"""Test what `build` prints before it builds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stagebake.buildkit.limits import AMPLE_DISK_BYTES, DiskSpace
from stagebake.cli.command import Command
from stagebake.cli.verbs.build import warn_of_limits
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.fingerprint.model import Fingerprint
from stagebake.naming.image_tags import ImageNames

GRAPH = parse_dockerfile("FROM scratch AS base\nFROM base AS app\nCOPY a b\nFROM scratch\nCOPY --from=app b b\n")
SMALL = DiskSpace(folder="/data", free=13_000_000_000)
AMPLE = DiskSpace(folder="/data", free=AMPLE_DISK_BYTES)


def print_warnings(
    capsys: pytest.CaptureFixture[str], disk: DiskSpace | None, *, ref: str = "host/app:1", push: bool = True
) -> tuple[str, int]:
    """Return what is printed, and how often the ledger is read; its stages had 6 and 11 GB."""
    reads: list[Any] = []

    def read_ledgers(access: Any) -> tuple[Ledger, ...]:
        reads.append(access)
        entries = {}
        for name, size in (("base", 6_000_000_000), ("app", 11_000_000_000), ("unused", 50_000_000_000)):
            entries[name] = (LedgerEntry(fingerprint=Fingerprint(name, ()), bytes=size),)
        return (Ledger(), Ledger(stages=entries))

    command = SimpleNamespace(
        options=SimpleNamespace(push=push),
        ledger_store=SimpleNamespace(read_ledgers=read_ledgers),
        access=None,
        graph=GRAPH,
    )
    warn_of_limits(cast(Command, command), disk, ImageNames(refs=(ref,), labels={}))
    return capsys.readouterr().err, len(reads)


def test_warn_of_limits_small_disk_says_what_the_image_needs(capsys: pytest.CaptureFixture[str]) -> None:
    printed, reads = print_warnings(capsys, SMALL)
    assert printed.startswith("warning: the image needs about 59.5 GB of disk, and /data has 13.0 GB free")
    assert printed.count("\n") == reads == 1


def test_warn_of_limits_large_stage_is_named_for_ghcr(capsys: pytest.CaptureFixture[str]) -> None:
    printed, _ = print_warnings(capsys, AMPLE, ref="ghcr.io/owner/app:1")
    assert printed.startswith("warning: stage app had 11.0 GB of layers in its last build")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("disk", [AMPLE, None])
@pytest.mark.parametrize(("ref", "push"), [("host/app:1", True), ("ghcr.io/owner/app:1", False)])
def test_warn_of_limits_without_a_limit_reads_no_ledger(
    capsys: pytest.CaptureFixture[str], disk: DiskSpace | None, ref: str, push: bool
) -> None:
    assert print_warnings(capsys, disk, ref=ref, push=push) == ("", 0)
