"""Test how long moving bytes takes."""

from __future__ import annotations

from stagebake.transfer.rates import Rates, pull_seconds, push_seconds, traffic_seconds, unpack_seconds
from stagebake.transfer.step_traffic import Traffic

RATES = Rates(download=100.0, upload=20.0, unpack=50.0, pack=25.0)


def test_pull_seconds_download_and_unpacking_add_up() -> None:
    assert pull_seconds(1_000_000_000, RATES) == 10.0 + 20.0
    assert unpack_seconds(1_000_000_000, RATES) == 20.0


def test_push_seconds_compressing_comes_before_the_upload() -> None:
    assert push_seconds(100_000_000, RATES) == 4.0 + 5.0


def test_traffic_seconds_are_those_of_both_directions() -> None:
    assert traffic_seconds(Traffic(pulled=50_000_000, pushed=100_000_000), RATES) == 1.5 + 9.0
