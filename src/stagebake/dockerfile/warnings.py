"""What is worth a warning before a build: secrets that would stay in the image, files that miss the cache. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stagebake.dockerfile.parser import Instruction, onbuild_instructions
from stagebake.dockerfile.stages import ForcedStages, StageGraph
from stagebake.dockerfile.variables import looks_secret
from stagebake.errors import InputError


def secret_warnings(graph: StageGraph) -> tuple[str, ...]:
    """A warning for each ARG or ENV whose name says that it holds a secret: it would stay in history and caches."""
    return tuple(
        f"{graph.path}:{instruction.line}: {instruction.keyword} {name} holds a secret, which stays in the image's "
        f"history and caches; use RUN --mount=type=secret,id={name.lower()} and --secret id={name.lower()},env={name}"
        for instruction, name in list_secret_variables(graph)
    )


def list_secret_variables(graph: StageGraph) -> Iterator[tuple[Instruction, str]]:
    """Each ARG or ENV whose name says that it holds a secret, and that name.

    An ARG before the first FROM is in no history (measured): what hands it on to a stage is that stage's own ARG.
    """
    written = (instruction for stage in graph.stages for instruction in stage.instructions)
    for instruction in (found for one in written for found in _carried(one, graph.path)):
        for name in _names(instruction):
            if looks_secret(name):
                yield instruction, name


def force_warnings(graph: StageGraph, forced: ForcedStages) -> tuple[str, ...]:
    """Return a warning for each stage that --no-cache names but the build does not need, or forces with others only."""
    needed = {stage.name for stage in graph.needed_stages()}
    idle = [f"`{name}`" for name in forced.named if name not in needed]
    added = [f"`{name}`" for name in graph.names if name in needed & forced.added]
    warnings = []
    if idle:
        warnings.append(
            f"--no-cache: {graph.final.name} takes nothing from {', '.join(idle)}, so nothing of it is built"
        )
    if added and forced.unnamed_stage is not None:
        where = f"{graph.path}:{forced.unnamed_stage.line}"
        warnings.append(
            f"--no-cache: BuildKit forces stages by name, but the stage in {where} has no name, so "
            f"{', '.join(added)} is rebuilt too; write FROM … AS NAME"
        )
    return tuple(warnings)


def writable_by_others(mode: int) -> bool:
    """Whether a checked-out file has another mode than under umask 022, which GitHub's runners have.

    Modes are part of BuildKit's cache keys (moby/buildkit, cache/contenthash): such files never match.
    """
    return bool(mode & 0o022)


def _carried(instruction: Instruction, path: str) -> tuple[Instruction, ...]:
    """The instruction; of an ONBUILD what it carries, which the image's config has, nothing where that is none."""
    if instruction.keyword != "ONBUILD":
        return (instruction,)
    try:
        return onbuild_instructions(instruction, path)
    except InputError:
        return ()


def _names(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword == "ARG":
        yield from (name for name, _ in instruction.declarations)
    elif instruction.keyword == "ENV":
        yield from (name for name, value in instruction.assignments if value.strip("\"'"))
