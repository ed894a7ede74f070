"""The StageGraph and its ARGs, held against what BuildKit's own frontend says of the same Dockerfiles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagebake import reading
from stagebake.dockerfile import StageGraph, Step
from stagebake.fingerprint import Image, Inputs
from stagebake.syntax import instructions
from tests.pure.test_dockerfile import EXPECTED, FILES, graph_of
from tests.support.engine import Engine

ANY = Image(digest="sha256:0", env={}, triggers=())


class Frontend:
    """BuildKit's frontend, asked what it makes of a Dockerfile; images are empty folders, so nothing is downloaded."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        (folder / "empty").mkdir()

    def ask(self, call: str, graph: StageGraph, name: str) -> dict[str, Any]:
        facts = EXPECTED[name]
        text = (FILES / f"{name}.Dockerfile").read_text(encoding="utf-8")
        # the engine's own frontend answers, as no other can be downloaded
        (self._folder / "Dockerfile").write_text(text.replace("# syntax=", "# no syntax="), encoding="utf-8")
        images = {image.name for stage in graph.stages for image in stage.images}
        answer = self._engine.run(
            "docker",
            "buildx",
            "build",
            f"--call={call},format=json",
            *(f"--build-context={image}=./empty" for image in images),
            *(f"--build-arg={key}={value}" for key, value in facts.get("args", {}).items()),
            *((f"--platform={facts['platform']}",) if "platform" in facts else ()),
            ".",
            folder=self._folder,
        )
        assert answer.returncode == 0, answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout)
        return found


@pytest.fixture
def frontend(engine: Engine, tmp_path: Path) -> Frontend:
    return Frontend(engine, tmp_path)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_stages_are_buildkit_s_targets(frontend: Frontend, name: str) -> None:
    """`--call=targets`: the same stages in the same lines, by the same names and from the same bases; the last one is
    the default."""
    graph = graph_of(name)
    targets = frontend.ask("targets", graph, name)["targets"]
    assert [_described(target) for target in targets] == [
        (
            (stage.target or "").lower(),
            stage.instructions[0].args[0],
            stage.instructions[0].flag("platform") or "",
            stage.line,
        )
        for stage in graph.stages
    ]
    assert [target.get("default", False) for target in targets] == [stage is graph.final for stage in graph.stages]


def _described(target: dict[str, Any]) -> tuple[str, str, str, int]:
    line = target["location"]["ranges"][0]["start"]["line"]
    return target.get("name", "").lower(), target["base"], target.get("platform", ""), line


@pytest.mark.parametrize("name", EXPECTED)
def test_the_args_have_buildkit_s_values(frontend: Frontend, name: str) -> None:
    """`--call=outline`: each ARG of the stages that are built that gets a value there has the one that we say. That
    BuildKit answers says, too, that no image is needed but those that the StageGraph knows."""
    graph = graph_of(name)
    outline = frontend.ask("outline", graph, name)
    ours = _args(graph)
    theirs = {arg["name"]: arg["value"] for arg in outline.get("args", ()) if arg.get("value")}
    assert {key: value for key, value in theirs.items() if value not in ours.get(key, ())} == {}
    assert outline.get("name", "").lower() == (graph.final.target or "").lower()


def _args(graph: StageGraph) -> dict[str, set[str]]:
    """The values of every ARG, as a RUN at the end of each stage would have it, and of those before the first FROM."""
    run = Step(instruction=instructions("RUN end", graph.path)[0])
    stages = tuple(replace(stage, steps=(*stage.steps, run)) for stage in graph.stages)
    images = {image.name: ANY for stage in stages for image in stage.images}
    prints = reading.take(replace(graph, stages=stages), Inputs(context=None, images=images))
    values = {name: {value} for name, value in graph.variables.items()}
    for part in (part for found in prints.values() for part in found.parts if part.kind == "arg"):
        values.setdefault(part.name, set()).add(part.value)
    return values
