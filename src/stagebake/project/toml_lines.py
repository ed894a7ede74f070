"""A TOML file, and the lines on which its keys stand, of which tomllib says nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.errors import InputError

KeyLines: TypeAlias = dict[tuple[str, ...], int]
"""The line that begins each key and table, by its path."""


def read_toml(path: Path, name: str) -> tuple[dict[str, Any], KeyLines]:
    """What a file holds, and where. Raises InputError with the line, and the file's `name`."""
    text = _text(path, name)
    return _parse(text, name), _lines(text)


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}:1: not readable as text: {error}", "TOML files are UTF-8") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", str(error))
        message, line = (found[1], int(found[2])) if found else (str(error), text.rstrip().count("\n") + 1)
        raise InputError(f"{name}:{line}: {message}", "correct the TOML") from None


def _lines(text: str) -> KeyLines:
    # A statement is as many lines as parse by themselves, and a table's name goes before all keys up to the next one
    found: KeyLines = {}
    table: tuple[str, ...] = ()
    draft, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        draft += f"{line}\n"
        try:
            paths = list(_paths(tomllib.loads(draft)))
        except tomllib.TOMLDecodeError:
            continue
        opens = draft.lstrip().startswith("[")
        for path in paths:
            found.setdefault(path if opens else (*table, *path), start)
        table = paths[-1] if opens else table
        draft, start = "", number + 1
    return found


def _paths(table: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of everything in nested tables, of each one before what is in it."""
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *below) for below in _paths(value))
