"""Read the rates of a runner from flags."""

from __future__ import annotations

import pytest

from stagebake.cli.verbs.forecast import parse_rates
from stagebake.errors import InputError
from stagebake.transfer.rates import HOSTED_RUNNER, Rates


def test_parse_rates_given_ones_replace_the_defaults() -> None:
    assert parse_rates([]) == HOSTED_RUNNER
    rates = parse_rates(["download=12.5,upload=5", "unpack=7"])
    assert rates == Rates(download=12.5, upload=5.0, unpack=7.0, pack=HOSTED_RUNNER.pack)


@pytest.mark.parametrize(
    "word", ["download", "download=", "download=0", "download=0.0", "download=-1", "disk=5", "pack=x"]
)
def test_parse_rates_word_that_is_not_valid_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="is not NAME=MB with a name of download, upload, unpack, pack"):
        parse_rates([word])
