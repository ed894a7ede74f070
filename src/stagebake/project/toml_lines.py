"""Read a TOML file together with the line of each key, which tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.errors import InputError

KeyPath: TypeAlias = tuple[str, ...]

KeyLines: TypeAlias = dict[KeyPath, int]
"""First line of each key and table, by its path."""

_ERROR = re.compile(r"^(?P<message>.*) \(at line (?P<line>\d+), column \d+\)$")


def read_toml(path: Path, name: str) -> tuple[dict[str, Any], KeyLines]:
    """Return the content of a TOML file and the lines of its keys. Raise InputError with the file's `name` and line."""
    text = _read_text(path, name)
    return _parse_document(text, name), _find_lines(text)


def _read_text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}:1: not readable as text: {error}", "save the file as UTF-8") from None


def _parse_document(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _ERROR.search(str(error))
        if found:
            raise InputError(f"{name}:{found['line']}: {found['message']}", "correct the TOML") from None
        last_line = text.rstrip().count("\n") + 1
        raise InputError(f"{name}:{last_line}: {error}", "correct the TOML") from None


def _find_lines(text: str) -> KeyLines:
    """Return the line of each key in a valid document.

    Lines are joined until they parse by themselves: then they are one statement. A table's name is the prefix of all
    keys up to the next table.
    """
    found: KeyLines = {}
    table: KeyPath = ()
    statement = ""
    start = 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += f"{line}\n"
        try:
            document = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        paths = list(_list_paths(document))
        if statement.lstrip().startswith("["):
            table = paths[-1]
            keys = paths
        else:
            keys = [(*table, *path) for path in paths]
        for key in keys:
            found.setdefault(key, start)
        statement = ""
        start = number + 1
    return found


def _list_paths(table: Mapping[str, Any]) -> Iterator[KeyPath]:
    """Yield the path of everything in nested tables, each table before its content."""
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            for path in _list_paths(value):
                yield (key, *path)
