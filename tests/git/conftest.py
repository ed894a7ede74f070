"""Share repositories and times between the tests of git."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.repository import Repository, grow

CreateRepository: TypeAlias = Callable[..., Repository]

TIMES = "--seconds=base=100,python-deps=600,node-deps=200,builder=150,runtime=50"


@pytest.fixture
def create_repository(tmp_path: Path) -> CreateRepository:
    """Return a function that creates a repository from the changes of each commit."""
    return lambda *changes: grow(tmp_path / "project", changes)
