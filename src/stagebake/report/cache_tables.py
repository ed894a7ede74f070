"""Show caches in the registry on the console and as JSON documents."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from stagebake.formatting import format_age, format_size, json_document
from stagebake.inventory.cache_tags import TagKind
from stagebake.inventory.damage import CacheCheck, Damage
from stagebake.inventory.deletion import Deletion, PrunePlan
from stagebake.inventory.listing import CacheEntry, CacheListing
from stagebake.inventory.prune_caches import PruneResult
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


def show_check(
    check: CacheCheck,
    image: str,
    lost: Mapping[str, Sequence[str]],
    repaired: Collection[str],
    console: Console,
    *,
    deep: bool,
) -> None:
    """Print what is broken, which stages are rebuilt because of it, and how much was checked.

    `lost` are the stages that cannot be restored, by the name of their scope.
    """
    for damage in check.damages:
        done = " (repaired)" if damage.tag in repaired else ""
        print_label(console, "broken", f" {image}:{damage.tag}: {damage_words(damage)}{done}")
    for scope, stages in lost.items():
        console.print(Text(f"{scope}: the next build that needs them rebuilds {', '.join(stages)}"))
    for error in check.unread:
        print_label(console, "warning", f": not checked: {error}")
    console.print(Text(_check_words(check, image, deep=deep)))
    if check.damaged_tags - set(repaired) and not repaired:
        console.print(Text("drop what is broken: nox -s cache -- verify --repair"))


def damage_words(damage: Damage) -> str:
    """Say what is wrong with a tag or with one of its blobs."""
    if damage.blob:
        return f"blob {damage.blob} {damage.kind.value}"
    return f"{damage.kind.value}: {damage.detail}" if damage.detail else damage.kind.value


def _check_words(check: CacheCheck, image: str, *, deep: bool) -> str:
    """Say how much was checked, and how much of it is broken."""
    what = "the bytes" if deep else "the sizes"
    counts = f"{len(check.tags)} tags, {what} of {check.blobs} blobs ({format_size(check.bytes)})"
    result = f"{len(check.damaged_tags)} tags are broken" if check.damages else "nothing is broken"
    return f"{image}: checked {counts}: {result}"


def check_json(
    check: CacheCheck,
    image: str,
    lost: Mapping[str, Sequence[str]],
    repaired: Collection[str],
    *,
    deep: bool,
) -> str:
    """Return the result of a check as a JSON document for machines."""
    broken = [
        {
            "tag": damage.tag,
            "problem": damage.kind.name.lower(),
            "blob": damage.blob or None,
            "detail": damage.detail,
            "repaired": damage.tag in repaired,
        }
        for damage in check.damages
    ]
    document = {
        "image": image,
        "deep": deep,
        "tags": len(check.tags),
        "blobs": check.blobs,
        "bytes": check.bytes,
        "broken": broken,
        "rebuilds": {scope: list(stages) for scope, stages in lost.items()},
        "unchecked": list(check.unread),
    }
    return json_document(document)


def show_prune(
    plan: PrunePlan,
    result: PruneResult,
    image: str,
    limit: int | None,
    console: Console,
    *,
    dry_run: bool,
) -> None:
    """Print what was deleted (with `dry_run`, what would be), what was kept, and the bytes."""
    verb = "would delete" if dry_run else "deleted"
    for deletion in result.deleted:
        console.print(Text(f"{verb} {_version_name(deletion, image)} ({deletion.reason})"))
    for deletion in result.kept:
        print_label(console, "kept", f" {_version_name(deletion, image)} ({deletion.reason})")
    console.print(Text(f"{image}: {verb} {len(result.deleted)} manifests, {_freed_words(plan)}"))
    console.print(Text(_remaining_words(plan, limit)))


def _version_name(deletion: Deletion, image: str) -> str:
    tags = sorted(deletion.manifest.tags)
    return ", ".join(f"{image}:{tag}" for tag in tags) or f"{image}@{deletion.manifest.digest}"


def _freed_words(plan: PrunePlan) -> str:
    """Say how many bytes nothing names then, and how many only after the grace time."""
    words = f"{format_size(plan.freed)} that nothing else names"
    if plan.freed_later or plan.young:
        later = format_size(plan.freed_later)
        words += f"; caches without a tag within the grace time: {plan.young}, with {later}"
    return words


def _remaining_words(plan: PrunePlan, limit: int | None) -> str:
    """Say what the tagged caches take, against the limit if there is one."""
    words = f"caches take {format_size(plan.remaining)} beside the images (before: {format_size(plan.before)})"
    if limit is None:
        return words
    if plan.remaining > limit:
        return f"{words}, more than cache-limit ({format_size(limit)}): the current results of the default branch stay"
    return f"{words}, within cache-limit ({format_size(limit)})"


def prune_json(plan: PrunePlan, result: PruneResult, image: str, limit: int | None, *, dry_run: bool) -> str:
    """Return what was deleted as a JSON document for machines, with sizes in bytes."""
    document = {
        "image": image,
        "dry_run": dry_run,
        "deleted": [_deletion_to_json(deletion) for deletion in result.deleted],
        "kept": [_deletion_to_json(deletion) for deletion in result.kept],
        "rewritten": [rewrite.tag for rewrite in plan.rewrites],
        "bytes": {
            "freed": plan.freed,
            "freed_later": plan.freed_later,
            "before": plan.before,
            "remaining": plan.remaining,
            "limit": limit,
        },
        "error": None if result.failure is None else result.failure.problem,
    }
    return json_document(document)


def _deletion_to_json(deletion: Deletion) -> dict[str, Any]:
    return {
        "digest": deletion.manifest.digest,
        "tags": sorted(deletion.manifest.tags),
        "reason": deletion.reason,
    }


def prune_markdown(plan: PrunePlan, result: PruneResult, listing: CacheListing, image: str, limit: int | None) -> str:
    """Return the summary of a prune for GitHub's step summary."""
    lines = [
        f"### Caches of `{image}`",
        f"Deleted {len(result.deleted)} manifests: {_freed_words(plan)}.",
        f"The {_remaining_words(plan, limit)}. New in the last 7 days: {format_size(listing.grown)}.",
    ]
    if result.failure is not None:
        lines.append(f"> [!WARNING]\n> It ended early: {result.failure.problem}; {result.failure.hint}")
    return "\n\n".join(lines) + "\n"


def format_time(seconds: float) -> str:
    """Return a time (seconds since 1970) as RFC 3339 in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
