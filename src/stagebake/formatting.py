"""Format sizes, times and text for people."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def format_size(count: int) -> str:
    """Return a number of bytes in B, kB, MB or GB (powers of 1000) with one decimal."""
    if count < 1000:
        return f"{count} B"
    for divisor, unit in ((1e3, "kB"), (1e6, "MB")):
        if count < 999.95 * divisor:
            return f"{count / divisor:.1f} {unit}"
    return f"{count / 1e9:.1f} GB"


def format_seconds(seconds: float) -> str:
    """Return a time in seconds, from one minute on in minutes and seconds."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s"


def format_age(seconds: float) -> str:
    """Return an age in whole minutes, hours or days; one below a minute, or below 0, is "now"."""
    for length, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "now"


def make_printable(text: str) -> str:
    """Return the text on one line, with � for every character that cannot be printed.

    Names of files and stages may contain any character.
    """
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "�" for character in line)


def find_similar_name(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like this one; None where the likeness (0 to 1) is below the cutoff."""
    candidates = list(known)
    similar = difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff)
    return similar[0] if similar else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that begins a hint ("did you mean `builder`? "); empty where no known name is similar."""
    similar = find_similar_name(name, known)
    return f"did you mean `{similar}`? " if similar else ""


def json_document(content: Mapping[str, Any]) -> str:
    """Return a JSON document for machines: indented by two spaces, with a newline at the end."""
    return json.dumps(content, indent=2) + "\n"
