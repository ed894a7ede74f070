"""Format sizes, times and text for people."""

from __future__ import annotations


def format_size(count: int) -> str:
    """Bytes as people read them."""
    if count < 1000:
        return f"{count} B"
    for divisor, unit in ((1e3, "kB"), (1e6, "MB")):
        if count < 999.95 * divisor:
            return f"{count / divisor:.1f} {unit}"
    return f"{count / 1e9:.1f} GB"


def format_seconds(seconds: float) -> str:
    """A time as people read it."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def printable(text: str) -> str:
    """Text on one line, of characters that can be printed: names of files and stages may hold any."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
