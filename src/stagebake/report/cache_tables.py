"""Show caches in the registry on the console and as JSON documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from stagebake.formatting import format_age, format_size, json_document
from stagebake.inventory.cache_tags import TagKind
from stagebake.inventory.listing import CacheEntry, CacheListing
from stagebake.report.tables import make_table, print_label


def show_listing(listing: CacheListing, image: str, console: Console, now: float) -> None:
    """Print the table of caches and the totals; `now` is in seconds since 1970."""
    if listing.entries:
        table = make_table()
        for heading in ("scope", "stage", "size", "in an image", "only here", "age", "results"):
            table.add_column(heading, no_wrap=True, justify="left" if heading in ("scope", "stage") else "right")
        for entry in listing.entries:
            table.add_row(*_entry_cells(entry, now))
        console.print(table)
    for line in _total_lines(listing, image):
        console.print(Text(line))
    for tag in listing.misplaced:
        print_label(console, "warning", f": {image}:{tag} holds no cache; the next save overwrites it")


def _entry_cells(entry: CacheEntry, now: float) -> tuple[str, ...]:
    is_stage = entry.kind is TagKind.STAGE
    return (
        entry.scope,
        entry.name if is_stage else _row_name(entry),
        format_size(entry.bytes),
        format_size(entry.shared),
        "" if entry.kind is TagKind.MERGED else format_size(entry.alone),
        "" if entry.created is None else format_age(now - entry.created),
        str(len(entry.tags)) if is_stage else "",
    )


def _row_name(entry: CacheEntry) -> str:
    if entry.kind is TagKind.MOUNT:
        return f"(mount {entry.name})"
    return f"({entry.kind.value})"


def _total_lines(listing: CacheListing, image: str) -> list[str]:
    """Return the totals: caches, images, growth, and caches without a tag."""
    only = format_size(listing.cache_only)
    lines = [
        f"{image}: caches {format_size(listing.cache_bytes)}, of which {only} are in no image; "
        f"images {format_size(listing.image_bytes)} in {listing.image_tags} tags",
        f"new in the last 7 days: {format_size(listing.grown)}",
    ]
    if listing.untagged is None or listing.untagged_bytes is None:
        lines.append("caches without a tag: unknown, this registry lists tags only")
    else:
        lines.append(
            f"caches without a tag: {listing.untagged}, with {format_size(listing.untagged_bytes)} that no tag names"
        )
    return lines


def listing_json(listing: CacheListing, image: str) -> str:
    """Return the listing as a JSON document for machines, with sizes in bytes and times in UTC."""
    document = {
        "image": image,
        "caches": [_entry_to_json(entry) for entry in listing.entries],
        "bytes": {
            "caches": listing.cache_bytes,
            "caches_only": listing.cache_only,
            "new_in_7_days": listing.grown,
            "images": listing.image_bytes,
        },
        "image_tags": listing.image_tags,
        "untagged": _untagged_to_json(listing),
        "misplaced": list(listing.misplaced),
    }
    return json_document(document)


def _entry_to_json(entry: CacheEntry) -> dict[str, Any]:
    return {
        "scope": entry.scope,
        "kind": entry.kind.value,
        "name": entry.name,
        "tags": list(entry.tags),
        "bytes": entry.bytes,
        "shared": entry.shared,
        "alone": entry.alone,
        "created": None if entry.created is None else format_time(entry.created),
    }


def _untagged_to_json(listing: CacheListing) -> dict[str, int] | None:
    if listing.untagged is None or listing.untagged_bytes is None:
        return None
    return {"caches": listing.untagged, "bytes": listing.untagged_bytes}


def format_time(seconds: float) -> str:
    """Return a time (seconds since 1970) as RFC 3339 in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
