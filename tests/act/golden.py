"""Compare step summaries with files; what differs from run to run is masked.

`GOLDEN=write pytest tests/act` writes the files again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_FOLDER = Path(__file__).with_name("golden")
_MASKS = (
    # BuildKit reports small layers only sometimes
    (re.compile(r"\n\n[\d.]+ [kMG]?B pulled(?=\n)|[\d.]+ [kMG]?B pulled; "), ""),
    (re.compile(r"```mermaid\n.*?\n```", re.DOTALL), "(timeline)"),
    (re.compile(r"\d+ min \d+ s|\d+\.\d s"), "0.0 s"),
    # The cell of the table that has the bytes pulled
    (re.compile(r"(?<=\| 0\.0 s \| )[\d.]+ [kMG]?B(?= \|)"), ""),
    (re.compile(r"\d+(\.\d)? [kMG]?B\b"), "0 B"),
    (re.compile(r"127\.0\.0\.1:\d+/\w+"), "registry/app"),
)


def check(name: str, summary: str) -> None:
    """Fail where the masked summary differs from the file `golden/NAME.md`."""
    path = _FOLDER / f"{name}.md"
    text = masked(summary)
    if os.environ.get("GOLDEN") == "write":
        _FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def masked(summary: str) -> str:
    for pattern, mask in _MASKS:
        summary = pattern.sub(mask, summary)
    # The timeline leaves out steps below half a second, and parallel stages may save no time
    return re.sub(r"\n+(\(timeline\)|Without caches [^\n]*)", "", summary)
