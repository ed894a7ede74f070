"""Hold what `init` takes over from common workflows against golden files.

`GOLDEN=write pytest tests/pure/migration` writes the files again.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.migration_shapes import GOLDEN, SHAPES, render_shape


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_take_over_of_a_common_workflow_equals_the_golden_file(shape: str) -> None:
    files = render_shape(shape)
    folder = GOLDEN / shape
    if os.environ.get("GOLDEN") == "write":
        write_golden(folder, files)
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert files == written


def write_golden(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
