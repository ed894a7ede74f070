"""Find the instructions that take files from the build context, and the files that each one takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stagebake.dockerfile.copy_sources import PathSelector, parent_folders
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.doctor.facts import RepositoryFacts

_WHOLE_CONTEXT = {".", "./", "/", "*", "./*"}


@dataclass(frozen=True)
class ContextCopy:
    """COPY, ADD or bind mount of the context: its sources as written, and the known files that these stand for.

    Known files are those that exist and those that a commit changed.
    """

    stage: Stage
    instruction: Instruction
    sources: tuple[str, ...]
    files: frozenset[str]

    @property
    def copies_everything(self) -> bool:
        """Return whether it takes the whole context."""
        return not _WHOLE_CONTEXT.isdisjoint(self.sources)


def find_context_copies(graph: StageGraph, facts: RepositoryFacts) -> Iterator[ContextCopy]:
    """Find each COPY, ADD and bind mount of the context in the stages that are built."""
    files = facts.files.union(*facts.commits)
    selector = _select_from(files)
    needed = graph.needed_stages()
    for stage in graph.stages:
        if stage not in needed:
            continue
        for step in stage.steps:
            instruction = step.instruction
            sources = _read_sources(instruction)
            if sources:
                chosen = _choose_files(selector, sources, instruction)
                yield ContextCopy(stage, instruction, sources, files & chosen)


def list_rebuilds(copies: Iterable[ContextCopy], facts: RepositoryFacts) -> tuple[frozenset[str], ...]:
    """Return, for each commit that changed copied files, these files."""
    copied: set[str] = set()
    for copy in copies:
        copied |= copy.files
    rebuilds = []
    for changed in facts.commits:
        if changed & copied:
            rebuilds.append(changed & copied)
    return tuple(rebuilds)


def _select_from(files: frozenset[str]) -> PathSelector:
    paths = set(files)
    for path in files:
        paths.update(parent_folders(path))
    return PathSelector(sorted(paths), {})


def _choose_files(selector: PathSelector, sources: tuple[str, ...], instruction: Instruction) -> set[str]:
    parents = instruction.has_switch("parents")
    excludes = instruction.flag_values("exclude")
    chosen: set[str] = set()
    for source in sources:
        try:
            chosen.update(selector.choose_paths(source, parents=parents, excludes=excludes))
        except ValueError:  # BuildKit refuses the pattern, and says so when it builds
            continue
    return chosen


def _read_sources(instruction: Instruction) -> tuple[str, ...]:
    written: list[str] = []
    if instruction.keyword == "RUN":
        written = _read_bind_sources(instruction)
    elif instruction.keyword in ("COPY", "ADD") and instruction.flag_value("from") is None:
        *written, _ = instruction.args
    return tuple(word for word in written if _is_in_context(word))


def _read_bind_sources(instruction: Instruction) -> list[str]:
    sources = []
    for mount in instruction.mounts:
        is_bind = mount.get("type", "bind") == "bind"
        if is_bind and "from" not in mount:
            source = mount.get("source", mount.get("src", "."))
            sources.append(source)
    return sources


def _is_in_context(word: str) -> bool:
    """Return whether a source names files of the context: not an address, a variable or a heredoc."""
    return "://" not in word and "$" not in word and not word.startswith("<<")
