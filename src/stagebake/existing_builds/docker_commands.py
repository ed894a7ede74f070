"""Find `docker build` and `docker buildx build` in the scripts of a workflow. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild, JobContext, merge_inputs
from stagebake.existing_builds.expressions import has_shell_variable

_BUILD = re.compile(
    r"(?:^|\s|&&|;|\()(?:sudo\s+)?docker\s+(?:image\s+|buildx\s+|builder\s+)?(?:build|b)(?=\s|$)(?P<rest>.*)$"
)
_PUSH = re.compile(r"(?:^|\s|&&|;)docker\s+(?:image\s+)?push\s+")
_OTHER_BUILDS = {
    re.compile(r"\bdocker(?:-| )compose\b.*\b(?:build|up\b.*--build)\b"): (
        "docker compose",
        "it builds the services of a compose file: run `stagebake init --from compose.yaml:SERVICE`",
    ),
    re.compile(r"\bdocker\s+buildx\s+bake\b"): (
        "docker buildx bake",
        "it builds the targets of a bake file: run `stagebake init --from docker-bake.hcl:TARGET`",
    ),
}

# Flags of `docker buildx build` with a value, and the name of the action's input (docker/buildx, docs/reference)
_VALUE_FLAGS = {
    "--add-host": "add-hosts",
    "--allow": "allow",
    "--annotation": "annotations",
    "--attest": "attests",
    "--build-arg": "build-args",
    "--build-context": "build-contexts",
    "--builder": "builder",
    "--cache-from": "cache-from",
    "--cache-to": "cache-to",
    "--cgroup-parent": "cgroup-parent",
    "--file": "file",
    "-f": "file",
    "--iidfile": "iidfile",
    "--label": "labels",
    "--metadata-file": "metadata-file",
    "--network": "network",
    "--no-cache-filter": "no-cache-filters",
    "--output": "outputs",
    "-o": "outputs",
    "--platform": "platforms",
    "--progress": "progress",
    "--provenance": "provenance",
    "--sbom": "sbom",
    "--secret": "secrets",
    "--shm-size": "shm-size",
    "--ssh": "ssh",
    "--tag": "tags",
    "-t": "tags",
    "--target": "target",
    "--ulimit": "ulimit",
}
_SWITCHES = {"--load": "load", "--no-cache": "no-cache", "--pull": "pull", "--push": "push"}
_COMMA_FLAGS = {"platforms", "no-cache-filters", "allow"}
_END_OF_COMMAND = re.compile(r"\s(?:&&|\|\||;|\||>|2>)\s*.*$")


@dataclass(frozen=True, kw_only=True)
class ScriptLine:
    """Line of a script with its continuation lines; `number` is the file's line."""

    number: int
    text: str


def find_docker_builds(context: JobContext) -> Iterator[ExistingBuild]:
    """Yield the builds in the script of a step."""
    pushes = any(_PUSH.search(step.script) for step in context.job.steps)
    for line in list_commands(context):
        found = _BUILD.search(line.text)
        if found:
            yield _read_command(context, line, found["rest"], pushes=pushes)
        for pattern, (kind, problem) in _OTHER_BUILDS.items():
            if pattern.search(line.text):
                place = f"{context.workflow.path}:{line.number}"
                yield ExistingBuild(place=place, kind=kind, inputs={}, context=context, problem=problem)


def list_commands(context: JobContext) -> Iterator[ScriptLine]:
    """Yield the commands of a step's script, without comments, and with continued lines joined."""
    node = context.step.node.find_field("run")
    first = node.line if node.line == node.end else node.line + 1
    started = 0
    parts: list[str] = []
    for offset, line in enumerate(node.text.splitlines()):
        if not parts:
            started = first + offset
        if not parts and line.lstrip().startswith("#"):
            continue
        continued = line.rstrip().endswith("\\")
        parts.append(line.rstrip().removesuffix("\\").strip())
        if not continued:
            yield ScriptLine(number=started, text=" ".join(parts))
            parts = []
    if parts:
        yield ScriptLine(number=started, text=" ".join(parts))


def _read_command(context: JobContext, line: ScriptLine, rest: str, *, pushes: bool) -> ExistingBuild:
    place = f"{context.workflow.path}:{line.number}"
    try:
        words = shlex.split(_END_OF_COMMAND.sub("", f" {rest}"))
    except ValueError as error:
        problem = f"the command is not readable: {error}"
        return ExistingBuild(place=place, kind="docker build", inputs={}, context=context, problem=problem)
    pairs = list(_read_words(context, words, place))
    if pushes:
        pairs.append(("push", BuildInput(place=place, values=("true",))))
    inputs = merge_inputs(pairs)
    return ExistingBuild(
        place=place, kind="docker build", inputs=inputs, context=context, problem=_find_problem(inputs)
    )


def _read_words(context: JobContext, words: list[str], place: str) -> Iterator[tuple[str, BuildInput]]:
    """Yield the inputs that the words of a command give."""
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        name = _VALUE_FLAGS.get(flag)
        if name is not None:
            value = value if equals else next(rest, "")
        elif flag in _SWITCHES:
            name = _SWITCHES[flag]
            value = value or "true"
        elif word.startswith("-") and word != "-":
            name = word
            value = "true"
        else:
            name = "context"
            value = word
        known = context.known.replace_shell(value)
        values = known.split(",") if name in _COMMA_FLAGS else [known]
        yield name, BuildInput(place=place, values=tuple(values))


def _find_problem(inputs: dict[str, BuildInput]) -> str:
    if len(inputs["context"].values if "context" in inputs else ()) != 1:
        return "the command has no single build context"
    for name in ("context", "file", "target", "platforms"):
        given = inputs.get(name)
        if given and has_shell_variable(given.text):
            return f"{name} is known only to the script: {given.text}"
    return ""
