"""Compare the stage graph and its ARGs with what BuildKit's own frontend says of the same Dockerfiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.errors import InputError
from tests.pure.dockerfile.test_frontend_rules import ACCEPTED, REFUSED
from tests.pure.dockerfile.test_stages import EXPECTED, FILES
from tests.support import changes
from tests.support.engine import Engine
from tests.support.frontend import (
    Case,
    Frontend,
    Refused,
    args_differences,
    described_stages,
    described_targets,
    list_images,
)
from tests.support.shapes import FIVE, SHAPES, TWO

EXAMPLE = Path(__file__).parents[2] / "example" / "Dockerfile"

CASES = {
    **{
        name: Case(
            (FILES / f"{name}.Dockerfile").read_text(encoding="utf-8"), facts.get("args", {}), facts.get("platform")
        )
        for name, facts in EXPECTED.items()
    },
    **{f"shape-{name}": Case(shape["Dockerfile"]) for name, shape in SHAPES.items()},
    "five": Case(FIVE["Dockerfile"]),
    "two": Case(TWO["Dockerfile"]),
    "changes": Case(changes.DOCKERFILE),
    **{f"accepted-{name}": Case(text) for name, text in ACCEPTED.items()},
    "example": Case(EXAMPLE.read_text(encoding="utf-8")),
}


@pytest.fixture
def frontend(engine: Engine, tmp_path: Path) -> Frontend:
    return Frontend(engine.run, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_graph_stages_are_the_targets_that_buildkit_names(frontend: Frontend, name: str) -> None:
    """Compare with `--call=targets`: the same stages, lines, names and bases; the last stage is the default."""
    case = CASES[name]
    answer = frontend.ask("targets", case, ())
    assert described_targets(answer) == described_stages(case.graph)


@pytest.mark.parametrize("name", CASES)
def test_graph_args_have_the_values_that_buildkit_names(frontend: Frontend, name: str) -> None:
    """Compare with `--call=outline`: the ARGs of the stages that are built, and their values.

    That BuildKit answers also proves that it needs no image but those that the graph knows.
    """
    case = CASES[name]
    outline = frontend.ask("outline", case, list_images(case.graph))
    assert args_differences(outline, case.graph, case.text) == []
    assert outline.get("name", "").lower() == (case.graph.final.target or "").lower()


@pytest.mark.parametrize("text", REFUSED)
def test_refused_dockerfile_is_refused_by_buildkit_too(frontend: Frontend, text: str) -> None:
    """Compare with `--call=outline`, where `debian` is the only image."""
    with pytest.raises(Refused) as refusal:
        frontend.ask("outline", Case(text), ["debian"])
    assert "failed to resolve source metadata" not in str(refusal.value)
    with pytest.raises(InputError):
        Case(text).graph  # noqa: B018
