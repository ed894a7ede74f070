"""Build Dockerfiles before and after `doctor --fix`, and compare the images: files, modes, owners, links and settings.

A push of code then changes one file of the context; what it pushes are the layers that the image did not have before.
STAGEBAKE_FIXES=all tries all Dockerfiles, otherwise a few.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.archive import image_of
from tests.support.daemon import find
from tests.support.engine import Engine
from tests.support.fix_cases import CASES, FixCase
from tests.support.fixes import fix_text
from tests.support.installers import list_libraries
from tests.support.project import BUSYBOX

ALL = os.environ.get("STAGEBAKE_FIXES") == "all"
QUICK = (
    "modes-of-copied-files",
    "chown-of-a-copied-stage",
    "chown-over-several-copies",
    "user-after-the-code",
    "two-tasks-in-the-stage",
    "link-into-a-folder-of-root",
)

Tree = dict[str, tuple[object, ...]]


@dataclass(frozen=True)
class BuiltImage:
    """Files of an image by path, its settings, and the sizes of its layers by digest."""

    tree: Tree
    config: dict[str, Any]
    layers: dict[str, int]


@pytest.fixture(scope="module")
def shadow(folder: Path) -> Path:
    """Return a folder with useradd and groupadd, and the libraries that they load."""
    programs = [Path(find(name)) for name in ("useradd", "groupadd")]
    copied = folder / "shadow"
    for path in (*programs, *map(Path, list_libraries(programs))):
        place = copied / str(path).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        place.chmod(0o755)
    return copied


@pytest.mark.parametrize("name", [name for name in CASES if ALL or name in QUICK])
def test_doctor_fix_makes_the_same_image(name: str, tmp_path: Path, engine: Engine, shadow: Path) -> None:
    case = CASES[name]
    text, edits = fix_text(case.dockerfile, files=case.files, unsafe=case.unsafe)
    assert bool(edits) is not case.kept, edits
    before, pushed_before = build_twice(case, case.dockerfile, tmp_path / "before", engine, shadow)
    if case.kept:
        return
    after, pushed_after = build_twice(case, text, tmp_path / "after", engine, shadow)
    print(f"{name}: a push of code pushes {pushed_before:,} bytes before and {pushed_after:,} after")
    assert after.config == before.config
    assert find_differences(before.tree, after.tree) == set(case.changed), text
    if case.fewer:
        assert pushed_after * 10 < pushed_before
    assert pushed_after <= pushed_before * 1.1 + 2000


def find_differences(before: Tree, after: Tree) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def build_twice(case: FixCase, text: str, folder: Path, engine: Engine, shadow: Path) -> tuple[BuiltImage, int]:
    """Build an image, then again with changed code; return the first image and the bytes of the new layers."""
    context = folder / "context"
    for path, content in case.files.items():
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text(content, encoding="utf-8")
        (context / path).chmod(0o644)
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    first = build_image(context, folder, engine, shadow)
    (context / "code.txt").write_text("two\n", encoding="utf-8")
    second = build_image(context, folder, engine, shadow)
    return first, sum(size for digest, size in second.layers.items() if digest not in first.layers)


def build_image(context: Path, folder: Path, engine: Engine, shadow: Path) -> BuiltImage:
    tree, image = folder / "tree.tar", folder / "image.tar"
    command = (
        "docker", "buildx", "build", "--quiet", "--network=none", "--provenance=false", f"--file={folder}/Dockerfile",
        f"--build-context=busybox:1=docker-image://{BUSYBOX}", f"--build-context=shadow={shadow}",
        f"--output=type=tar,dest={tree}", f"--output=type=oci,dest={image}", ".",
    )  # fmt: skip
    answer = engine.run(*command, folder=context)
    assert answer.returncode == 0, answer.stderr
    config, layers = read_image(image)
    return BuiltImage(read_tree(tree), config, layers)


def read_tree(path: Path) -> Tree:
    """Return kind, mode, owner, link and content of each file; times are left out."""
    found: Tree = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            data = content.read() if content else b""
            name = member.name.strip("/")
            found[name] = (member.type, oct(member.mode), member.uid, member.gid, member.linkname, data)
    return found


def read_image(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what the image runs and in which environment, and the size of each layer."""
    with tarfile.open(path) as archive:

        def read_blob(digest: str) -> Any:
            content = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert content is not None
            return json.loads(content.read())

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = read_blob(image_of(json.loads(index.read())))
        while "manifests" in manifest:
            manifest = read_blob(image_of(manifest))
        config = read_blob(manifest["config"]["digest"])["config"]
    return config, {layer["digest"]: layer["size"] for layer in manifest["layers"]}
