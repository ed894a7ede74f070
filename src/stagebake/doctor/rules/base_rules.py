"""Find images that are pulled for nothing, or that may change at any time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.cache_tools import root_image
from stagebake.doctor.reading.push_model import PushModel, StepPlace
from stagebake.doctor.reading.shell_commands import read_commands
from stagebake.doctor.reading.subject import Subject
from stagebake.formatting import format_size
from stagebake.transfer.step_layers import stage_layers

# A base of this size in compressed bytes is heavy
_HEAVY_BYTES = 500_000_000
# Images that are known to be heavy: of GPU libraries, machine learning, notebooks, browsers
_HEAVY_IMAGE = re.compile(
    r"cuda|cudnn|nvidia|nvcr\.io|pytorch|tensorflow|rocm|jupyter|playwright|selenium|ollama|vllm|sagemaker|deepspeed"
)
# Programs that run alone in this image
_SMALL_IMAGE = "node:22-slim"
_NODE_PROGRAMS = frozenset({"node", "npm", "npx", "yarn", "pnpm", "corepack", "turbo", "next", "vite", "tsc"})
_NEUTRAL = frozenset({
    "", "cd", "mkdir", "cp", "mv", "rm", "ls", "echo", "cat", "set", "export", "test", "[", "true", "chmod", "chown",
    "touch", "ln", "find",
})  # fmt: skip


def find_heavy_bases(subject: Subject) -> Iterator[Finding]:
    """Find each stage that a push of code runs on a heavy base, only to run Node.js.

    Compilers may need the C library and headers of the base, so stages for them are left out. The stages below it that
    run only Node.js as well, such as one for `npm ci`, move with it.
    """
    graph, facts = subject.graph, subject.facts
    for stage in graph.needed_stages():
        runs = _code_runs(stage, subject.model)
        if stage is graph.final or not runs or not _runs_only_node(stage):
            continue
        family = _list_node_stages(stage, graph)
        size = _base_bytes(graph, family[-1], facts)
        is_heavy = size >= _HEAVY_BYTES or (size == 0 and _HEAVY_IMAGE.search(root_image(graph, stage)) is not None)
        if is_heavy and _only_hand_on_files(family, graph):
            yield _report_heavy_base(family, graph, facts, runs, size)


def _runs_only_node(stage: Stage) -> bool:
    """Return whether all RUNs of a stage run nothing but Node.js."""
    runs = [instruction for instruction in stage.instructions if instruction.keyword == "RUN"]
    programs = {command.program for run in runs for command in read_commands(run)} - _NEUTRAL
    return programs <= _NODE_PROGRAMS


def _list_node_stages(stage: Stage, graph: StageGraph) -> list[Stage]:
    """Return the stage and the stages below it that also run nothing but Node.js, the lowest last."""
    family = [stage]
    below = graph.base_stage(stage)
    while below is not None and _runs_only_node(below) and any(each.keyword == "RUN" for each in below.instructions):
        family.append(below)
        below = graph.base_stage(below)
    return family


def _code_runs(stage: Stage, model: PushModel) -> list[StepPlace]:
    """Return the RUNs of a stage that a push of code runs."""
    places = [StepPlace(stage, number) for number in range(len(stage.steps))]
    return [place for place in places if place.step.instruction.keyword == "RUN" and model.is_code_step(place)]


def _only_hand_on_files(family: list[Stage], graph: StageGraph) -> bool:
    """Return whether other stages only copy from these stages, and none starts from them."""
    names = {stage.name for stage in family}
    return all(other in family or other.base not in names for other in graph.stages)


def _base_bytes(graph: StageGraph, stage: Stage, facts: RepositoryFacts) -> int:
    """Return the compressed bytes below a stage's own steps; 0 where they are not known."""
    if isinstance(stage.base, str):
        return sum(layer.bytes for layer in stage_layers(graph, facts.layered, stage.base))
    steps = facts.layered.get(stage.name, ())
    return steps[0].bytes if steps else 0


def _report_heavy_base(
    family: list[Stage],
    graph: StageGraph,
    facts: RepositoryFacts,
    runs: list[StepPlace],
    size: int,
) -> Finding:
    stage, lowest = family[0], family[-1]
    known = f"{format_size(size)} of layers" if size else f"the layers of `{root_image(graph, stage)}`"
    moves = f"start stage `{lowest.name}` from a small image of the same version of Node.js"
    name = f" AS {lowest.written_name}" if lowest.written_name else ""
    return Finding(
        rule="heavy-base",
        path=graph.path,
        line=lowest.instructions[0].line,
        problem=f"each push of code pulls {known} for stage `{stage.name}`, which runs nothing but Node.js and only "
        f"hands on files; {moves}, if the packages need no library of this one",
        fix=(f"FROM {_SMALL_IMAGE}{name}",),
        stage=stage.name,
        seconds=facts.seconds.get(stage.name),
        lines=tuple(place.step.instruction.line for place in runs),
    )


def find_moving_images(subject: Subject) -> Iterator[Finding]:
    """Find each image without a digest: when its tag moves, all stages that depend on it are rebuilt."""
    graph, facts = subject.graph, subject.facts
    seen = set(facts.replaced)
    for stage in graph.needed_stages():
        for image in stage.images:
            if "@" in image.name or image.name in seen:
                continue
            seen.add(image.name)
            yield _report_moving_image(image, graph.path)


def _report_moving_image(image: ImageReference, path: str) -> Finding:
    name = image.name
    tag = re.search(r":([\w.-]+)$", name)
    when = "with each release"
    if tag is not None and tag[1] != "latest":
        when = f"whenever tag `{tag[1]}` moves"
    pinned = name if tag else f"{name}:TAG"
    return Finding(
        rule="base-moves",
        path=path,
        line=image.line,
        problem=f"`{name}` changes {when}, and the next push rebuilds every stage that depends on it; "
        "pin the digest, and let Dependabot or Renovate update it in a separate commit",
        fix=(
            f"{pinned}@sha256:…",
            f"# docker buildx imagetools inspect --format '{{{{.Manifest.Digest}}}}' {pinned}",
        ),
        is_note=True,
    )
