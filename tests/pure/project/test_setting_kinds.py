"""Test how words become a table."""

from __future__ import annotations

import re

import pytest

from stagebake.errors import InputError
from stagebake.project.setting_kinds import AgeTableKind, ByteCountKind, ValuePlace, WordTableKind, parse_pairs


def test_parse_pairs_splits_at_first_equals_sign() -> None:
    assert parse_pairs(["a=b=c", "d="], "--context") == {"a": "b=c", "d": ""}


def test_parse_pairs_of_word_without_value_raises_input_error() -> None:
    with pytest.raises(InputError, match="--context: `x` is not NAME=VALUE"):
        parse_pairs(["x"], "--context")


@pytest.mark.parametrize("name", ["fail-on", "fail_on"])
def test_word_table_kind_reads_lists_by_name(name: str) -> None:
    kind = WordTableKind(("select", "fail-on"))
    read = kind.read_toml({name: ["a", "b"]}, ValuePlace("doctor", "pyproject.toml:3"))
    assert read == {"fail-on": ("a", "b")}
    read = kind.read_variable("select=a fail-on=b,c", ValuePlace("doctor", "STAGEBAKE_DOCTOR"))
    assert read == {"select": ("a",), "fail-on": ("b", "c")}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a", "`doctor` must be a table of lists"),
        ({"selct": ["a"]}, "unknown setting `doctor.selct`"),
        ({"select": "a"}, "`doctor.select` must be a list of strings"),
    ],
)
def test_word_table_kind_of_another_form_raises_input_error(value: object, problem: str) -> None:
    with pytest.raises(InputError) as refused:
        WordTableKind(("select",)).read_toml(value, ValuePlace("doctor", "pyproject.toml:3"))
    assert problem in refused.value.problem


@pytest.mark.parametrize(
    ("value", "count"),
    [(20, 20), ("20", 20), ("20GB", 20_000_000_000), ("1.5 TB", 1_500_000_000_000), ("5 kB", 5000), ("7B", 7)],
)
def test_byte_count_kind_reads_numbers_and_units(value: object, count: int) -> None:
    kind = ByteCountKind()
    assert kind.read_toml(value, ValuePlace("cache-limit", "x")) == count
    assert re.fullmatch(kind.json_schema()["pattern"], str(value))


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "", "GB", "20GiB", "20 gb", "-1GB", "0"])
def test_byte_count_kind_of_other_values_raises_input_error(value: object) -> None:
    with pytest.raises(InputError, match=r"`cache-limit` must be a number of bytes, such as"):
        ByteCountKind().read_toml(value, ValuePlace("cache-limit", "x"))


@pytest.mark.parametrize(
    ("value", "ages"),
    [("7d", {"": 604_800.0}), ({"base": "12h", "deps": "2w"}, {"base": 43_200.0, "deps": 1_209_600.0}), ({}, {})],
)
def test_age_table_kind_reads_one_age_or_one_for_each_stage(value: object, ages: dict[str, float]) -> None:
    assert AgeTableKind().read_toml(value, ValuePlace("max-age", "x")) == ages


def test_age_table_kind_reads_variables() -> None:
    place = ValuePlace("max-age", "STAGEBAKE_MAX_AGE")
    assert AgeTableKind().read_variable("7d", place) == {"": 604_800.0}
    assert AgeTableKind().read_variable("base=1d deps=2d", place) == {"base": 86_400.0, "deps": 172_800.0}


@pytest.mark.parametrize("value", [7, "7", "0d", "7 d", "7m", "", None, {"base": 7}, {"base": "x"}, ["7d"]])
def test_age_table_kind_of_other_values_raises_input_error(value: object) -> None:
    with pytest.raises(InputError, match=r"`max-age` must be an age such as"):
        AgeTableKind().read_toml(value, ValuePlace("max-age", "x"))
