"""Compare the stage graph and its ARGs with what BuildKit's own frontend says of the same Dockerfiles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import filterfalse, takewhile
from pathlib import Path
from typing import Any

import pytest

from stagebake.dockerfile.parser import parse_instructions
from stagebake.dockerfile.stages import StageGraph, StageStep, parse_dockerfile
from stagebake.fingerprint.model import BuildInputs, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from tests.pure.dockerfile.test_stages import EXPECTED, FILES
from tests.support import changes
from tests.support.engine import Engine
from tests.support.shapes import FIVE, SHAPES, TWO

ANY = ImageInfo(digest="sha256:0", env={}, triggers=())
_PREDEFINED = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)$")
EXAMPLE = Path(__file__).parents[2] / "example" / "Dockerfile"


@dataclass(frozen=True)
class Case:
    """Dockerfile, its build arguments, and its platform."""

    text: str
    args: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None

    @property
    def graph(self) -> StageGraph:
        return parse_dockerfile(self.text, args=self.args, platforms=(self.platform,) if self.platform else ())


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
    "example": Case(EXAMPLE.read_text(encoding="utf-8")),
}


class Frontend:
    """BuildKit's frontend, asked about a Dockerfile. Images are empty folders, so nothing is downloaded."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        (folder / "empty").mkdir()

    def ask(self, call: str, case: Case) -> dict[str, Any]:
        # another frontend would have to be downloaded
        text = case.text.replace("# syntax=", "# no syntax=")
        (self._folder / "Dockerfile").write_text(text, encoding="utf-8")
        images = {image.name for stage in case.graph.stages for image in stage.images}
        answer = self._engine.run(
            "docker",
            "buildx",
            "build",
            f"--call={call},format=json",
            *(f"--build-context={image}=./empty" for image in images),
            *(f"--build-arg={key}={value}" for key, value in case.args.items()),
            *((f"--platform={case.platform}",) if case.platform else ()),
            ".",
            folder=self._folder,
        )
        assert answer.returncode == 0, answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout)
        return found


@pytest.fixture
def frontend(engine: Engine, tmp_path: Path) -> Frontend:
    return Frontend(engine, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_graph_stages_are_the_targets_that_buildkit_names(frontend: Frontend, name: str) -> None:
    """Compare with `--call=targets`: the same stages, lines, names and bases; the last stage is the default."""
    graph = CASES[name].graph
    targets = frontend.ask("targets", CASES[name])["targets"]
    assert [_described(target) for target in targets] == [
        (
            (stage.target or "").lower(),
            stage.instructions[0].args[0],
            stage.instructions[0].flag_value("platform") or "",
            stage.line,
        )
        for stage in graph.stages
    ]
    assert [target.get("default", False) for target in targets] == [stage is graph.final for stage in graph.stages]


def _described(target: dict[str, Any]) -> tuple[str, str, str, int]:
    line = target["location"]["ranges"][0]["start"]["line"]
    return target.get("name", "").lower(), target["base"], target.get("platform", ""), line


@pytest.mark.parametrize("name", CASES)
def test_graph_args_have_the_values_that_buildkit_names(frontend: Frontend, name: str) -> None:
    """Compare with `--call=outline`: the ARGs of the stages that are built, and their values.

    BuildKit gives no value for an ARG that the platform predefines or that takes over another one's value. That it
    answers also proves that it needs no image but those that the graph knows.
    """
    graph = CASES[name].graph
    outline = frontend.ask("outline", CASES[name])
    theirs = {arg["name"]: arg.get("value", "") for arg in outline.get("args", ())}
    words = _declared(graph)
    names = {word.partition("=")[0] for word in words} | _asked_for(graph, CASES[name].text)
    assert set(filterfalse(_PREDEFINED.match, theirs)) == set(filterfalse(_PREDEFINED.match, names))
    told = {key: value for key, value in theirs.items() if value or not (key in words or _PREDEFINED.match(key))}
    ours = _args(graph)
    assert {key: value for key, value in told.items() if value not in ours.get(key, {""})} == {}
    assert outline.get("name", "").lower() == (graph.final.target or "").lower()


def _declared(graph: StageGraph) -> set[str]:
    """Return the ARGs in the stages that are built, as written."""
    found = (i for stage in graph.needed_stages() for i in stage.instructions if i.keyword == "ARG")
    return {word for instruction in found for word in instruction.args}


def _asked_for(graph: StageGraph, text: str) -> set[str]:
    """Return the ARGs before the first FROM that the FROMs of these stages name, and the ARGs those refer to."""
    outer = {
        word.partition("=")[0]: word.partition("=")[2]
        for instruction in takewhile(
            lambda instruction: instruction.keyword == "ARG", parse_instructions(text, graph.path)
        )
        for word in instruction.args
    }
    asked: set[str] = set()
    left = " ".join(stage.instructions[0].text for stage in graph.needed_stages())
    while new := {name for name in re.findall(r"\$\{?(\w+)", left) if name in outer} - asked:
        asked |= new
        left = " ".join(outer[name] for name in new)
    return asked


def _args(graph: StageGraph) -> dict[str, set[str]]:
    """Return the values of every ARG at the end of each stage that is built, and of those before the first FROM."""
    run = StageStep(instruction=parse_instructions("RUN end", graph.path)[0])
    stages = tuple(replace(stage, steps=(*stage.steps, run)) for stage in graph.stages)
    images = {image.name: ANY for stage in stages for image in stage.images}
    prints = fingerprint_stages(replace(graph, stages=stages), BuildInputs(context=None, images=images))
    values = {name: {value} for name, value in graph.variables.items()}
    for stage in graph.needed_stages():
        for part in (part for part in prints[stage.name].parts if part.kind == "arg"):
            values.setdefault(part.name, set()).add(part.value)
    return values
