"""Test how caches in the registry are shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stagebake.errors import RegistryError
from stagebake.inventory.cache_tags import TagKind
from stagebake.inventory.contents import Kind, StoredManifest
from stagebake.inventory.damage import CacheCheck, Damage, DamageKind
from stagebake.inventory.deletion import Deletion, PrunePlan
from stagebake.inventory.listing import CacheEntry, CacheListing
from stagebake.inventory.prune_caches import PruneResult
from stagebake.report.cache_tables import (
    check_json,
    listing_json,
    prune_json,
    prune_markdown,
    show_check,
    show_listing,
    show_prune,
)
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


CHECK = CacheCheck(
    tags=(),
    damages=(
        Damage(tag="cache-app", kind=DamageKind.MISSING, blob="sha256:1"),
        Damage(tag="cache-base", kind=DamageKind.INVALID, detail="not JSON"),
    ),
    blobs=31,
    bytes=5_100_000_000,
    unread=("busy",),
)


def test_show_check_names_each_damage_and_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    show_check(CHECK, "r/n", {"main": ("app", "web")}, frozenset(), make_console(), deep=False)
    assert capsys.readouterr().out.splitlines() == [
        "broken r/n:cache-app: blob sha256:1 is missing",
        "broken r/n:cache-base: it is not valid: not JSON",
        "main: the next build that needs them rebuilds app, web",
        "warning: not checked: busy",
        "r/n: checked 0 tags, the sizes of 31 blobs (5.1 GB): 2 tags are broken",
        "drop what is broken: nox -s cache -- verify --repair",
    ]


def test_check_json_has_the_documented_fields() -> None:
    document = json.loads(check_json(CHECK, "r/n", {"main": ("app",)}, {"cache-app"}, deep=True))
    assert document["broken"] == [
        {"tag": "cache-app", "problem": "missing", "blob": "sha256:1", "detail": "", "repaired": True},
        {"tag": "cache-base", "problem": "invalid", "blob": None, "detail": "not JSON", "repaired": False},
    ]
    assert document["rebuilds"] == {"main": ["app"]}
    assert document.keys() == {"image", "deep", "tags", "blobs", "bytes", "broken", "rebuilds", "unchecked"}


def make_deletion(digest: str, *tags: str, reason: str = "no tag names it") -> Deletion:
    return Deletion(manifest=StoredManifest(digest=digest, kind=Kind.CACHE, tags=frozenset(tags)), reason=reason)


PLAN = PrunePlan(freed=500, freed_later=20, young=1, before=2000, remaining=1500)
RESULT = PruneResult(
    deleted=(make_deletion("sha256:1"), make_deletion("sha256:2", "cache1-app", reason="each stage keeps 1")),
    kept=(make_deletion("sha256:3", "cache2-app", reason="a build has changed its tags"),),
)


def test_show_prune_prints_what_and_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    show_prune(PLAN, RESULT, "r/n", 1000, make_console(), dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "would delete r/n@sha256:1 (no tag names it)",
        "would delete r/n:cache1-app (each stage keeps 1)",
        "kept r/n:cache2-app (a build has changed its tags)",
        "r/n: would delete 2 manifests, 500 B that nothing else names; caches without a tag within the grace time: 1, "
        "with 20 B",
        "caches take 1.5 kB beside the images (before: 2.0 kB), more than cache-limit (1.0 kB): "
        "the current results of the default branch stay",
    ]


def test_prune_json_has_the_documented_fields() -> None:
    document = json.loads(prune_json(PLAN, RESULT, "r/n", None, dry_run=False))
    assert document["deleted"][1] == {"digest": "sha256:2", "tags": ["cache1-app"], "reason": "each stage keeps 1"}
    assert document["bytes"] == {"freed": 500, "freed_later": 20, "before": 2000, "remaining": 1500, "limit": None}
    assert document.keys() == {"image", "dry_run", "deleted", "kept", "rewritten", "bytes", "error"}


def test_prune_markdown_shows_size_growth_and_an_early_end() -> None:
    failed = replace(RESULT, failure=RegistryError("GitHub: 429", "run this again in 60 s"))
    text = prune_markdown(PLAN, failed, LISTING, "r/n", 10_000)
    assert "Deleted 2 manifests: 500 B that nothing else names" in text
    assert "within cache-limit (10.0 kB). New in the last 7 days: 9 B." in text
    assert "GitHub: 429; run this again in 60 s" in text
