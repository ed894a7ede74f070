"""Test how words become a table."""

from __future__ import annotations

import pytest

from stagebake.errors import InputError
from stagebake.project.setting_kinds import parse_pairs


def test_parse_pairs_splits_at_first_equals_sign() -> None:
    assert parse_pairs(["a=b=c", "d="], "--context") == {"a": "b=c", "d": ""}


def test_parse_pairs_of_word_without_value_raises_input_error() -> None:
    with pytest.raises(InputError, match="--context: `x` is not NAME=VALUE"):
        parse_pairs(["x"], "--context")
