"""Ask BuildKit's frontend about a Dockerfile (`--call`), and compare its answer with the stage graph."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import filterfalse, takewhile
from pathlib import Path
from typing import Any

from stagebake.dockerfile.frontend_rules import is_image_name
from stagebake.dockerfile.parser import parse_instructions
from stagebake.dockerfile.stages import StageGraph, StageStep, parse_dockerfile
from stagebake.dockerfile.variables import expand_word, global_args, hide_secret, predefined_args
from stagebake.errors import InputError
from stagebake.fingerprint.model import BuildInputs, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages

_ANY = ImageInfo(digest="sha256:0", env={}, triggers=())
_PREDEFINED = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)$")
_SYNTAX = re.compile(r"^#[ \t]*syntax[ \t]*=.*$", re.IGNORECASE | re.MULTILINE)
_CHECK = re.compile(r"^#[ \t]*check[ \t]*=", re.IGNORECASE | re.MULTILINE)

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Target = tuple[str, str, str, int, bool]


class Refused(Exception):
    """Answer of BuildKit that refuses the Dockerfile."""


@dataclass(frozen=True)
class Case:
    """Dockerfile, its build arguments, and its platform."""

    text: str
    args: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None

    @property
    def graph(self) -> StageGraph:
        return parse_dockerfile(self.text, args=self.args, platforms=(self.platform,) if self.platform else ())


class Frontend:
    """BuildKit's frontend, asked about a Dockerfile. Images are empty folders, so nothing is downloaded.

    `run` runs a command in a folder, as Engine.run does.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self._folder = folder
        (folder / "empty").mkdir()

    def ask(self, call: str, case: Case, images: Iterable[str]) -> dict[str, Any]:
        """Return the answer to `--call`. Raises Refused with BuildKit's message."""
        # the engine's own frontend answers, as no other can be downloaded; the line remains a directive
        directive = "# escape=\\\\" if _CHECK.search(case.text) else "# check=skip=all"
        text = _SYNTAX.sub(directive, case.text)
        (self._folder / "Dockerfile").write_text(text, encoding="utf-8", newline="")
        answer = self._run(
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
        if answer.returncode != 0:
            raise Refused(answer.stderr)
        found: dict[str, Any] = json.loads(answer.stdout)
        return found


def list_images(graph: StageGraph) -> set[str]:
    """Return the names of the images that any stage takes from."""
    return {image.name for stage in graph.stages for image in stage.images}


def possible_images(text: str) -> set[str]:
    """Return the names of images in a Dockerfile from which no graph can be made."""
    images: set[str] = set()
    try:
        instructions = parse_instructions(text, "Dockerfile")
        variables = global_args(instructions, {}, predefined_args((), None), "Dockerfile")
        for instruction in instructions:
            if instruction.keyword == "FROM":
                images.add(expand_word(instruction.args[0], variables, instruction, "Dockerfile"))
            images.update(instruction.flag_values("from"))
    except InputError:
        pass
    return set(filter(is_image_name, images))


def described_targets(answer: Mapping[str, Any]) -> list[Target]:
    """Return name, base, platform and line of each target in the answer to `--call=targets`; the default is True."""
    return [
        (
            target.get("name", "").lower(),
            target["base"],
            target.get("platform", ""),
            target["location"]["ranges"][0]["start"]["line"],
            target.get("default", False),
        )
        for target in answer["targets"]
    ]


def described_stages(graph: StageGraph) -> list[Target]:
    """Return the same of each stage of the graph."""
    return [
        (
            (stage.written_name or "").lower(),
            stage.instructions[0].args[0],
            stage.instructions[0].flag_value("platform") or "",
            stage.line,
            stage is graph.final,
        )
        for stage in graph.stages
    ]


def args_differences(answer: Mapping[str, Any], graph: StageGraph, text: str) -> list[str]:
    """Return the ARGs on which the answer to `--call=outline` and the graph disagree.

    BuildKit gives no value for an ARG that the platform predefines or that takes over another one's value.
    """
    theirs = {arg["name"]: arg.get("value", "") for arg in answer.get("args", ())}
    words = _declared(graph)
    names = {word.partition("=")[0] for word in words} | _asked_for(graph, text)
    wrong = set(filterfalse(_PREDEFINED.match, theirs)) ^ set(filterfalse(_PREDEFINED.match, names))
    ours = _args(graph)
    for name, value in theirs.items():
        has_value = value or not (name in words or _PREDEFINED.match(name))
        if has_value and not {value, hide_secret(name, value)} & ours.get(name, {""}):
            wrong.add(name)
    return sorted(wrong)


def _declared(graph: StageGraph) -> set[str]:
    """Return the ARGs in the stages that are built, as written."""
    words: set[str] = set()
    for stage in graph.needed_stages():
        for step in stage.steps:
            if step.instruction.keyword == "ARG":
                words.update(step.instruction.args)
    return words


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
    images = dict.fromkeys(list_images(graph), _ANY)
    prints = fingerprint_stages(replace(graph, stages=stages), BuildInputs(context=None, images=images))
    values = {name: {value} for name, value in graph.variables.items()}
    for stage in graph.needed_stages():
        for part in prints[stage.name].parts:
            if part.kind == "arg":
                values.setdefault(part.name, set()).add(part.value)
    return values
