"""What `stagebake doctor` says, and the facts it says it of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.copy_sources import PathSelector
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that costs time or trust, at a line of a file.

    `rule` is its name for --skip, `what` a sentence, `fix` the lines to use instead. `stage` is what runs again
    because of it, if that can be said, and `seconds` what that took last time, None where nobody knows.
    """

    rule: str
    path: str
    line: int
    what: str
    fix: tuple[str, ...] = ()
    stage: str | None = None
    seconds: float | None = None
    origin: str = "stagebake"


@dataclass(frozen=True, kw_only=True)
class RepositoryFacts:
    """What is known beside the Dockerfile; paths are seen from the context, without what the ignore file keeps out.

    `files` are those that are there, `commits` the files that each of the last commits changed, `seconds` what each
    stage took, `replaced` the images in whose place the settings put something, and `ignore_file` the ignore file that
    is in force or would be.
    """

    files: frozenset[str] = frozenset()
    commits: tuple[frozenset[str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    ignore_file: str = ".dockerignore"


@dataclass(frozen=True)
class ContextCopy:
    """An instruction that takes files from the context: its sources, and which of the known files these are."""

    stage: Stage
    instruction: Instruction
    sources: tuple[str, ...]
    files: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether everything in the context reaches the instruction."""
        return bool({".", "./", "/", "*", "./*"} & set(self.sources))


def context_copies(graph: StageGraph, facts: RepositoryFacts) -> Iterator[ContextCopy]:
    """Every COPY, ADD and bind mount of the context, in the stages that are built."""
    built = {stage.name for stage in graph.needed_stages()}
    files = facts.files.union(*facts.commits)
    selector = PathSelector(sorted(files | {folder for path in files for folder in _folders(path)}), {})
    for stage in graph.stages:
        for instruction in stage.instructions:
            if stage.name in built and (sources := _sources(instruction)):
                chosen = (_chosen(selector, source, instruction) for source in sources)
                yield ContextCopy(stage, instruction, sources, files.intersection(set().union(*chosen)))


def _folders(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _chosen(selector: PathSelector, source: str, instruction: Instruction) -> Collection[str]:
    parents = instruction.has_switch("parents")
    try:
        return selector.choose_paths(source, parents=parents, excludes=instruction.flag_values("exclude"))
    except ValueError:
        return set()


def instructions_up_to(graph: StageGraph, stage: Stage) -> tuple[tuple[Stage, Instruction], ...]:
    """Every instruction that a stage is made of: those of the stages below its FROM, then its own."""
    below = base_stage(graph, stage)
    own = tuple((stage, instruction) for instruction in stage.instructions)
    return (*instructions_up_to(graph, below), *own) if below else own


def base_stage(graph: StageGraph, stage: Stage) -> Stage | None:
    """The stage that it starts from; None where that is an image or nothing."""
    return next((graph[source] for source in stage.steps[0].sources if isinstance(source, str)), None)


def _sources(instruction: Instruction) -> tuple[str, ...]:
    if instruction.keyword in ("COPY", "ADD") and instruction.flag_value("from") is None:
        written = instruction.args[:-1]
    elif instruction.keyword == "RUN":
        written = tuple(_bound(instruction))
    else:
        return ()
    return tuple(word for word in written if "://" not in word and "$" not in word and not word.startswith("<<"))


def _bound(instruction: Instruction) -> Iterator[str]:
    """What a RUN's bind mounts take from the context."""
    for mount in instruction.mounts:
        if mount.get("type", "bind") == "bind" and "from" not in mount:
            yield mount.get("source", mount.get("src", "."))
