"""Take the bytes of the CUDA libraries from the packages on PyPI that have them, to measure how well they compress."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from benchmarks.full.sizes import MEGABYTE

# For CUDA 12.1: 1.3 GB of wheels, 1.7 GB of libraries
_PACKAGES = ("nvidia-cublas-cu12==12.1.3.1", "nvidia-cudnn-cu12==8.9.2.26", "nvidia-cufft-cu12==11.0.2.54")
_PIECE = 8 * MEGABYTE


@dataclass(frozen=True)
class RealLibraries:
    """Folder with one file in which all libraries follow each other."""

    path: Path

    def make_library(self, key: str, megabytes: float) -> Iterator[bytes]:
        """Yield bytes from a place that the key chooses; after the end, go on at the start."""
        left = round(megabytes * MEGABYTE)
        with self.path.open("rb") as file:
            file.seek(crc32(key.encode()) % self.path.stat().st_size)
            while left > 0:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    file.seek(0)
                left -= len(piece)
                yield piece


def download_libraries(folder: Path) -> RealLibraries:
    """Return the libraries of the packages. Raise RuntimeError where pip cannot download them."""
    command = ("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--dest={folder}", *_PACKAGES)
    answer = subprocess.run((sys.executable, "-m", *command), capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"pip could not download {', '.join(_PACKAGES)}:\n{answer.stderr[-2000:]}")
    path = folder / "libraries"
    with path.open("wb") as file:
        for wheel in sorted(folder.glob("*.whl")):
            with zipfile.ZipFile(wheel) as content:
                for name in content.namelist():
                    if ".so" in name:
                        with content.open(name) as library:
                            shutil.copyfileobj(library, file)
            wheel.unlink()
    return RealLibraries(path)
