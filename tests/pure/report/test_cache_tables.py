"""Test how caches in the registry are shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stagebake.inventory.cache_tags import TagKind
from stagebake.inventory.listing import CacheEntry, CacheListing
from stagebake.report.cache_tables import listing_json, show_listing
from stagebake.report.tables import make_console

NOW = 1_800_000_000.0
BASE = CacheEntry(
    scope="main",
    kind=TagKind.STAGE,
    name="base",
    tags=("cache-base", "cache1-base"),
    bytes=2000,
    shared=1500,
    alone=400,
    created=NOW - 7200,
)
MOUNT = CacheEntry(
    scope="pr-7", kind=TagKind.MOUNT, name="npm.1", tags=("cache.mount_pr_7.x-npm.1",), bytes=9, shared=0, alone=9
)
MERGED = replace(BASE, kind=TagKind.MERGED, name="", tags=("cache",))
LISTING = CacheListing(
    entries=(BASE, MERGED, MOUNT),
    cache_bytes=2009,
    cache_only=509,
    grown=9,
    image_bytes=5000,
    image_tags=3,
    untagged=4,
    untagged_bytes=100,
    misplaced=("cache-proxy",),
)


def test_show_listing_prints_table_totals_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    show_listing(LISTING, "ghcr.io/o/n", make_console(), NOW)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "scope stage size in an image only here age results",
        "main base 2.0 kB 1.5 kB 400 B 2 hours 2",
        "main (merged) 2.0 kB 1.5 kB 2 hours",
        "pr-7 (mount npm.1) 9 B 0 B 9 B",
        "ghcr.io/o/n: caches 2.0 kB, of which 509 B are in no image; images 5.0 kB in 3 tags",
        "new in the last 7 days: 9 B",
        "caches without a tag: 4, with 100 B that no tag names",
        "warning: ghcr.io/o/n:cache-proxy holds no cache; the next save overwrites it",
    ]


def test_show_listing_registry_that_lists_tags_only_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_listing(replace(LISTING, entries=(), untagged=None, untagged_bytes=None), "r/n", make_console(), NOW)
    output = capsys.readouterr().out
    assert output.startswith("r/n: caches ")
    assert "unknown, this registry lists tags only" in output


def test_listing_json_has_the_documented_fields() -> None:
    document = json.loads(listing_json(LISTING, "ghcr.io/o/n"))
    assert document["caches"][0] == {
        "scope": "main",
        "kind": "stage",
        "name": "base",
        "tags": ["cache-base", "cache1-base"],
        "bytes": 2000,
        "shared": 1500,
        "alone": 400,
        "created": "2027-01-15T06:00:00Z",
    }
    assert document["bytes"] == {"caches": 2009, "caches_only": 509, "new_in_7_days": 9, "images": 5000}
    assert document["untagged"] == {"caches": 4, "bytes": 100}
    assert document.keys() == {"image", "caches", "bytes", "image_tags", "untagged", "misplaced"}
