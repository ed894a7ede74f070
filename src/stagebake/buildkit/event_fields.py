"""Read the fields of BuildKit's events, whatever their types. Pure.

A field of another type than expected counts as missing: no event ends a build.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any


def read_items(event: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list; nothing where it is missing or not a list."""
    items = event.get(key)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield item


def text_field(event: Mapping[str, Any], key: str) -> str:
    """Return a text, "" where it is missing or not a text."""
    value = event.get(key)
    return value if isinstance(value, str) else ""


def read_count(event: Mapping[str, Any], key: str) -> int:
    """Return a number, 0 where it is missing or not a whole number."""
    value = event.get(key)
    return value if isinstance(value, int) else 0


def read_seconds(event: Mapping[str, Any], key: str) -> float | None:
    """Return a timestamp in seconds since 1970, None where it is missing or not valid."""
    try:
        return timestamp_seconds(text_field(event, key))
    except (ValueError, OverflowError):
        return None


def read_bytes(event: Mapping[str, Any], key: str) -> bytes:
    """Return what a text encodes in base64, nothing where it is not valid."""
    try:
        return base64.b64decode(text_field(event, key))
    except ValueError:
        return b""


def timestamp_seconds(timestamp: str) -> float:
    """Convert a Go timestamp (RFC 3339, nanoseconds) to seconds since 1970. Raise ValueError where it is not valid."""
    return datetime.fromisoformat(timestamp).timestamp()
