"""Read the value of a setting, by its kind: from a TOML document or from the text of an environment variable."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn, TypeAlias

from stagebake.errors import InputError

_Words: TypeAlias = tuple[str, ...]
_Table: TypeAlias = Mapping[str, Any]
_Numbers: TypeAlias = Mapping[str, float]
_WordTable: TypeAlias = Mapping[str, tuple[str, ...]]

_SWITCH_WORDS = {"true": True, "1": True, "false": False, "0": False}
_SIZE_PATTERN = "([0-9]+([.][0-9]+)?) ?([kKMGT]?B)?"
_SIZE = re.compile(_SIZE_PATTERN)
_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_AGE_PATTERN = "([1-9][0-9]*)([hdw])"
_AGE = re.compile(_AGE_PATTERN)
_AGE_SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_NUMBER = re.compile(r"\d+(\.\d+)?")


class ValuePlace(NamedTuple):
    """Key of a setting, and the place that gives its value (file:line or variable), for errors."""

    key: str
    origin: str


class TextKind:
    """Text, and base class of the other kinds.

    `description` completes "must be ..." in an error. The methods that read raise InputError for a value of another
    kind.
    """

    description = "a string"

    def json_schema(self) -> dict[str, Any]:
        """Return what a TOML document may have as the value, as JSON schema (json-schema.org, draft 7)."""
        return {"type": "string"}

    def read_toml(self, value: Any, place: ValuePlace) -> Any:
        """Return the value of a setting that a TOML document gives as `value`."""
        if not isinstance(value, str) or "\0" in value:
            self.refuse_value(value, place)
        return value

    def read_variable(self, text: str, place: ValuePlace) -> Any:
        """Return the value of a setting that an environment variable gives as `text`."""
        return text

    def merge_values(self, below: Any, above: Any) -> Any:
        """Return the value of a setting that two places give; `above` takes precedence over `below`."""
        return above

    def refuse_value(self, value: Any, place: ValuePlace) -> NoReturn:
        """Raise InputError for a value of another kind."""
        raise InputError(
            f"{place.origin}: `{place.key}` must be {self.description}, not `{value!r}`",
            "see the settings in the README",
        )


class SwitchKind(TextKind):
    """Boolean; in a variable `true`, `1`, `false` or `0`, in any case."""

    description = "true or false"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def read_toml(self, value: Any, place: ValuePlace) -> bool:
        if not isinstance(value, bool):
            self.refuse_value(value, place)
        return value

    def read_variable(self, text: str, place: ValuePlace) -> bool:
        value = _SWITCH_WORDS.get(text.lower())
        if value is None:
            self.refuse_value(text, place)
        return value


class ByteCountKind(TextKind):
    """Positive number of bytes, or text with a unit: kB, MB, GB or TB (powers of 1000)."""

    description = 'a number of bytes, such as 20_000_000_000 or "20GB"'

    def json_schema(self) -> dict[str, Any]:
        return {"type": ["integer", "string"], "minimum": 1, "pattern": rf"^{_SIZE_PATTERN}$"}

    def read_toml(self, value: Any, place: ValuePlace) -> int:
        count = _parse_size(value) if isinstance(value, str) else value
        if type(count) is not int or count <= 0:
            self.refuse_value(value, place)
        return count

    def read_variable(self, text: str, place: ValuePlace) -> int:
        return self.read_toml(text, place)


class LevelKind(TextKind):
    """Whole number, 0 or more."""

    description = "a whole number, 0 or more"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0}

    def read_toml(self, value: Any, place: ValuePlace) -> int:
        if type(value) is not int or value < 0:
            self.refuse_value(value, place)
        return value

    def read_variable(self, text: str, place: ValuePlace) -> int:
        if not (text.isascii() and text.isdecimal()):
            self.refuse_value(text, place)
        return int(text)


class AgeTableKind(TextKind):
    """Age such as `7d` for all names, or a table of names and ages; in seconds, with the name "" for all names.

    In a variable `7d`, or `NAME=AGE` words, quoted as in a shell.
    """

    description = 'an age such as "7d" or "12h", or a table of stages and ages'

    def json_schema(self) -> dict[str, Any]:
        age = {"type": "string", "pattern": f"^{_AGE_PATTERN}$"}
        return {"anyOf": [age, {"type": "object", "additionalProperties": age}]}

    def read_toml(self, value: Any, place: ValuePlace) -> _Numbers:
        table = value if isinstance(value, dict) else {"": value}
        return {name: self._read_age(age, place) for name, age in table.items()}

    def read_variable(self, text: str, place: ValuePlace) -> _Numbers:
        table = parse_pairs(_split_words(text, place), place.origin) if "=" in text else text
        return self.read_toml(table, place)

    def _read_age(self, text: Any, place: ValuePlace) -> float:
        found = _AGE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            self.refuse_value(text, place)
        return int(found[1]) * _AGE_SECONDS[found[2]]


class ListKind(TextKind):
    """Tuple of words; in a variable separated by spaces and quoted as in a shell.

    With `joins` the words of two places are joined, in the order of the places.
    """

    description = "a list of strings"

    def __init__(self, *, joins: bool = False) -> None:
        self._joins = joins

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}}

    def read_toml(self, value: Any, place: ValuePlace) -> _Words:
        if not isinstance(value, list):
            self.refuse_value(value, place)
        if not all(isinstance(item, str) for item in value):
            self.refuse_value(value, place)
        return tuple(value)

    def read_variable(self, text: str, place: ValuePlace) -> _Words:
        return tuple(_split_words(text, place))

    def merge_values(self, below: Any, above: Any) -> _Words:
        if below is None or not self._joins:
            return tuple(above)
        return (*below, *above)


class TableKind(TextKind):
    """Mapping of names to text; in a variable `NAME=VALUE` words, quoted as in a shell.

    The tables of two places are merged name by name.
    """

    description = "a table"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}

    def read_toml(self, value: Any, place: ValuePlace) -> _Table:
        if not isinstance(value, dict):
            self.refuse_value(value, place)
        table: dict[str, str] = {}
        for name, item in value.items():
            item_place = ValuePlace(f"{place.key}.{name}", place.origin)
            table[name] = _read_scalar(item, item_place)
        return table

    def read_variable(self, text: str, place: ValuePlace) -> _Table:
        words = _split_words(text, place)
        return parse_pairs(words, place.origin)

    def merge_values(self, below: Any, above: Any) -> _Table:
        if below is None:
            return dict(above)
        return {**below, **above}


class NumberTableKind(TableKind):
    """Mapping of known names to numbers in a `unit`; names that no place gives keep their default."""

    def __init__(self, defaults: _Numbers, unit: str) -> None:
        self._defaults = defaults
        self._unit = unit

    def json_schema(self) -> dict[str, Any]:
        numbers = {name: {"type": "number", "minimum": 0, "default": value} for name, value in self._defaults.items()}
        return {"type": "object", "properties": numbers, "additionalProperties": False}

    def read_toml(self, value: Any, place: ValuePlace) -> _Numbers:
        texts = super().read_toml(value, place)
        return self._read_numbers(texts, place)

    def read_variable(self, text: str, place: ValuePlace) -> _Numbers:
        texts = super().read_variable(text, place)
        return self._read_numbers(texts, place)

    def merge_values(self, below: Any, above: Any) -> _Numbers:
        return super().merge_values(below or self._defaults, above)

    def _read_numbers(self, texts: Mapping[str, str], place: ValuePlace) -> _Numbers:
        numbers: dict[str, float] = {}
        for name, text in texts.items():
            is_known = name in self._defaults
            if not is_known or not _NUMBER.fullmatch(text):
                raise InputError(
                    f"{place.origin}: `{place.key}.{name} = {text}` is not valid",
                    f"give {self._unit} for any of: {', '.join(self._defaults)}",
                )
            numbers[name] = float(text)
        return numbers


class WordTableKind(TableKind):
    """Mapping of known names to tuples of words; in a variable `NAME=WORD,WORD`."""

    description = "a table of lists"

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def json_schema(self) -> dict[str, Any]:
        lists = {name: ListKind().json_schema() for name in self._names}
        return {"type": "object", "properties": lists, "additionalProperties": False}

    def read_toml(self, value: Any, place: ValuePlace) -> _WordTable:
        if not isinstance(value, dict):
            self.refuse_value(value, place)
        table: dict[str, _Words] = {}
        for name, words in value.items():
            item_place = ValuePlace(f"{place.key}.{name}", place.origin)
            known_name = self._find_name(name.replace("_", "-"), item_place)
            table[known_name] = ListKind().read_toml(words, item_place)
        return table

    def read_variable(self, text: str, place: ValuePlace) -> _WordTable:
        table: dict[str, _Words] = {}
        for name, listed in super().read_variable(text, place).items():
            known_name = self._find_name(name, ValuePlace(f"{place.key}.{name}", place.origin))
            table[known_name] = tuple(word for word in listed.split(",") if word)
        return table

    def _find_name(self, name: str, place: ValuePlace) -> str:
        if name not in self._names:
            raise InputError(f"{place.origin}: unknown setting `{place.key}`", f"use one of: {', '.join(self._names)}")
        return name


def _parse_size(text: str) -> int | None:
    """Return the bytes of a number with or without a unit, None for other text."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return round(float(found[1]) * _UNITS[found[3] or "B"])


def parse_pairs(words: Iterable[str], origin: str) -> dict[str, str]:
    """Return `NAME=VALUE` words as a table. Raise InputError for a word without a name or without `=`."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InputError(f"{origin}: `{word}` is not NAME=VALUE", "write a name, `=` and the value")
        pairs[name] = value
    return pairs


def _split_words(text: str, place: ValuePlace) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{place.origin}: {error}", "quote it as in a shell") from None


def _read_scalar(value: Any, place: ValuePlace) -> str:
    """Return a value of a TOML table as text, as a build argument takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise InputError(
        f"{place.origin}: `{place.key}` must be a string, a number or a boolean, not `{value!r}`",
        "write one value for each name",
    )
