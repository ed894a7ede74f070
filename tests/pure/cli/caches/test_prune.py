"""Test the flags of `cache prune`."""

from __future__ import annotations

import argparse

import pytest

from stagebake.cli.caches.prune import parse_age


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600), ("0h", 0)])
def test_parse_age_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "30m", "\u0663d"])
def test_parse_age_of_other_text_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not an age such as 12h, 30d or 2w"):
        parse_age(text)
