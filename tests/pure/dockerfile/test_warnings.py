"""Warn before a build."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.dockerfile.warnings import force_warnings, namesake_warnings, secret_warnings, writable_by_others

TEXT = "FROM a AS base\nFROM b\nRUN x\nFROM base AS app\nCOPY --from=1 / /\nFROM c AS test\n"


@pytest.mark.parametrize(
    ("names", "warning"),
    [
        ([], None),
        (["app"], None),
        (["base"], None),
        (["test"], "app does not need `test`"),
        (["app", "test"], "app does not need `test`"),
        (["stage-1"], "the stage in Dockerfile:2 has no name, so `base` is rebuilt too"),
    ],
)
def test_force_warnings_unneeded_or_unnamed_stage_warns(names: list[str], warning: str | None) -> None:
    """Warn about a stage that the build does not need, and about stages forced with a stage that has no name."""
    graph = parse_dockerfile(TEXT, target="app")
    found = force_warnings(graph, graph.force_stages(names))
    assert len(found) == (warning is not None)
    assert all(warning in one for one in found if warning)


def test_secret_warnings_name_the_line_and_the_flags_to_use() -> None:
    graph = parse_dockerfile("FROM a\nARG NPM_TOKEN\nENV MODE=x\n")
    assert secret_warnings(graph) == (
        "Dockerfile:2: ARG NPM_TOKEN looks like a secret; its value stays in the image history and caches; "
        "use RUN --mount=type=secret,id=npm_token,env=NPM_TOKEN and --secret id=npm_token,env=NPM_TOKEN",
    )


@pytest.mark.parametrize(("mode", "writable"), [(0o644, False), (0o755, False), (0o664, True), (0o646, True)])
def test_writable_by_others_group_or_others_can_write(mode: int, writable: bool) -> None:
    assert writable_by_others(mode) == writable


def test_namesake_warnings_name_both_lines_and_the_other_name() -> None:
    graph = parse_dockerfile("FROM a AS Build\nFROM b AS build\nFROM scratch\nCOPY --from=build /x /x\n")
    (warning,) = namesake_warnings(graph)
    assert warning.startswith("Dockerfile:1: line 2 uses the stage name `Build` again")
    assert "this one is called `stage-0` here" in warning


def test_namesake_warnings_stage_without_name_gives_none() -> None:
    assert namesake_warnings(parse_dockerfile("FROM a AS x\nFROM b\nFROM x\n")) == ()
