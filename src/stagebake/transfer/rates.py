"""Estimate how long pulling, unpacking, compressing and pushing take on a runner. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stagebake.transfer.step_traffic import Traffic

_MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of a runner and its link to the registry, in compressed MB (10^6 bytes) a second.

    `download` and `upload` are those of the link. `unpack` decompresses layers and writes their files, one layer after
    another; `pack` reads the files of new layers and compresses them.
    """

    download: float
    upload: float
    unpack: float
    pack: float


# Assumed for a hosted runner of GitHub with ghcr.io: the link of the runner, and gzip on one of its cores
HOSTED_RUNNER = Rates(download=100.0, upload=60.0, unpack=60.0, pack=60.0)


def pull_seconds(pulled: int, rates: Rates) -> float:
    """Return the seconds to pull and unpack layers.

    They add up: BuildKit downloads all layers at once, so the lowest one, which is unpacked first, arrives late.
    """
    return pulled / _MEGABYTE / rates.download + unpack_seconds(pulled, rates)


def unpack_seconds(size: int, rates: Rates) -> float:
    """Return the seconds to unpack layers that are on the machine."""
    return size / _MEGABYTE / rates.unpack


def push_seconds(pushed: int, rates: Rates) -> float:
    """Return the seconds to compress and push new layers: BuildKit compresses all of them first."""
    return pushed / _MEGABYTE / rates.pack + pushed / _MEGABYTE / rates.upload


def traffic_seconds(traffic: Traffic, rates: Rates) -> float:
    """Return the seconds that moving these bytes adds to a build."""
    return pull_seconds(traffic.pulled, rates) + push_seconds(traffic.pushed, rates)
