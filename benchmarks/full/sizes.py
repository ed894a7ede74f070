"""Hold the sizes of the five-stage image, and make content of these sizes. Pure.

At scale 1 they are the uncompressed sizes that the team of the seed gives: base 3 GB (of which the CUDA image has 2.4),
python-deps 2 GB, node-deps 500 MB, builder 200 MB. The seconds are those of the work that moves no bytes here: to
resolve and download packages, and to compile. They are assumptions about a runner with two cores.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MEGABYTE = 1_000_000
# Bytes of the files that packages have
BINARY_MEMBER = 1 << 18
TEXT_MEMBER = 1 << 14
_PIECE = 8 * MEGABYTE
# Compress to 5 of 8 bits, as the CUDA libraries do
_BINARY = bytes(32 + byte % 32 for byte in range(256))
# 12 bits for a word of about 5 letters and a space: gzip makes 28 % of it, as of JavaScript
_SYLLABLES = ("re", "act", "con", "st", "va", "lue", "pro", "ps", "use", "map", "get", "key", "ma", "ra", "type", "on")
_WORDS = [f"{a}{b}{c} ".encode() for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]


@dataclass(frozen=True)
class ImageSizes:
    """Sizes in megabytes and work in seconds of the image, as shares of those of the seed."""

    scale: float
    work: float

    def scale_megabytes(self, megabytes: float) -> float:
        """Return a size at this scale, in megabytes."""
        return megabytes * self.scale

    def scale_kilobytes(self, megabytes: float) -> int:
        """Return a size at this scale, in whole kilobytes."""
        return max(1, round(megabytes * 1000 * self.scale))

    def scale_seconds(self, seconds: float) -> str:
        """Return seconds of work, as the command `sleep` takes them."""
        return f"{seconds * self.work:.2f}"

    def count_disk_bytes(self, strategies: int, scenarios: int) -> int:
        """Return the disk for these pushes with one Dockerfile: base images, engine, and a registry that grows."""
        return round(1000 * MEGABYTE + self.scale * (24_000 + strategies * scenarios * 2_000) * MEGABYTE)


def make_binary(key: str, megabytes: float) -> Iterator[bytes]:
    """Yield bytes that compress as a library does; the same key gives the same bytes."""
    for piece, size in _split_size(megabytes):
        yield hashlib.shake_256(f"{key} {piece}".encode()).digest(size).translate(_BINARY)


def make_text(key: str, megabytes: float) -> Iterator[bytes]:
    """Yield bytes that compress as source text does; the same key gives the same bytes."""
    for piece, size in _split_size(megabytes):
        numbers = memoryview(hashlib.shake_256(f"{key} {piece}".encode()).digest(size // 3 & ~1)).cast("H")
        yield b"".join(_WORDS[number & 4095] for number in numbers)[:size]


def make_archive(content: Iterable[bytes], member_size: int) -> Iterator[bytes]:
    """Yield the content as members of a tar archive, all of one size and without the archive's end."""
    number, left = 0, b""
    for piece in content:
        left += piece
        whole = len(left) // member_size * member_size
        for start in range(0, whole, member_size):
            info = tarfile.TarInfo(f"file-{number:06}")
            info.size, number = member_size, number + 1
            yield info.tobuf(tarfile.USTAR_FORMAT) + left[start : start + member_size]
        left = left[whole:]


def _split_size(megabytes: float) -> Iterator[tuple[int, int]]:
    """Yield number and bytes of each piece of a file."""
    total = max(round(megabytes * MEGABYTE), 1)
    for number, start in enumerate(range(0, total, _PIECE)):
        yield number, min(_PIECE, total - start)
