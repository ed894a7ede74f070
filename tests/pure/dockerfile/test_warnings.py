"""What is worth a warning before a build."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.dockerfile.warnings import force_warnings

TEXT = "FROM a AS base\nFROM b\nRUN x\nFROM base AS app\nCOPY --from=1 / /\nFROM c AS test\n"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], None),
        (["app"], None),
        (["base"], None),
        (["test"], "app takes nothing from `test`"),
        (["app", "test"], "app takes nothing from `test`"),
        (["stage-1"], "Dockerfile:2 has none, so `base` too is rebuilt"),
    ],
)
def test_a_stage_that_cannot_be_forced_alone(names: list[str], words: str | None) -> None:
    """One that nothing needs is not built, and one without a name is forced with all: both are said, and no other."""
    warnings = force_warnings(parse_dockerfile(TEXT, target="app"), names)
    assert len(warnings) == (words is not None)
    assert all(words in warning for warning in warnings if words)
