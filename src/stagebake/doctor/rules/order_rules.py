"""Find what comes too early in a Dockerfile: when it changes, all instructions after it run again."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from stagebake.dockerfile.package_managers import PackageInstall, find_installs
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.rules.context_copies import ContextCopy, find_context_copies, list_rebuilds
from stagebake.formatting import make_printable

# A COPY of some files is reported from this many rebuilds on, and only where it caused this share of all
_MIN_CAUSED = 5
_MIN_SHARE = 0.2

_WORKSPACE_PACKAGE = re.compile(r"^(?!.*node_modules/).*/package\.json$")

# Names of arguments that change with each build or each commit
_CHANGING = re.compile(
    r"(?:^|_)(?:(?:BUILD|GIT|VCS|COMMIT|SOURCE)_?(?:SHA|REF|HASH|ID|COMMIT|REV|REVISION|DESCRIBE)|SHA|COMMIT|REVISION"
    r"|BUILD_?(?:DATE|TIME|TIMESTAMP|NUMBER|NO|NUM)|TIMESTAMP|CACHE_?BUST(?:ER)?|GITHUB_(?:SHA|REF|RUN_ID|RUN_NUMBER))$",
    re.IGNORECASE,
)
# Defaults that are placeholders; any other default is a pinned version
_PLACEHOLDER = re.compile(
    r"[\"']?(?:|dev\S*|head|latest|local|main|master|none|null|undefined|unknown|0*)[\"']?", re.IGNORECASE
)
# Instructions that only set metadata of the image or pass a value on; they may mention an argument without using it
_METADATA = ("ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "VOLUME")


def find_early_copies(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each COPY before an install that does not need all copied files.

    A COPY of the whole context is always reported. Any other is reported only if its files caused many rebuilds.
    """
    copies = tuple(find_context_copies(graph, facts))
    rebuilds = list_rebuilds(copies, facts)
    reported: set[int] = set()
    for install in find_installs(graph):
        for copy in _list_copies_before(install, copies, graph):
            needed = _find_needed_files(install, copy, facts)
            if copy.instruction.line in reported or needed is None:
                continue
            early = _EarlyCopy(copy, install, needed, rebuilds)
            if early.is_reported:
                reported.add(copy.instruction.line)
                yield Finding(
                    rule="copy-before-install",
                    path=graph.path,
                    line=copy.instruction.line,
                    problem=_describe_early_copy(early),
                    fix=_reorder_lines(early),
                    stage=install.stage.name,
                    seconds=facts.seconds.get(install.stage.name),
                )


@dataclass(frozen=True)
class _EarlyCopy:
    """COPY before an install. `needed` are the copied files that the install needs, `rebuilds` the commits to judge."""

    copy: ContextCopy
    install: PackageInstall
    needed: frozenset[str]
    rebuilds: tuple[frozenset[str], ...]

    @cached_property
    def not_needed(self) -> frozenset[str]:
        """Return the copied files that the install does not need."""
        return self.copy.files - self.needed

    @cached_property
    def caused(self) -> tuple[frozenset[str], ...]:
        """Return the rebuilds in which a file changed that the install does not need."""
        return tuple(changed for changed in self.rebuilds if changed & self.not_needed)

    @property
    def is_reported(self) -> bool:
        """Return whether the COPY is broad enough, or changes often enough, for a finding."""
        if self.copy.copies_everything:
            return True
        count = len(self.caused)
        often = count >= _MIN_CAUSED and count >= _MIN_SHARE * len(self.rebuilds)
        return often and not _names_source(self.install, self.copy)


def _list_copies_before(
    install: PackageInstall,
    copies: Iterable[ContextCopy],
    graph: StageGraph,
) -> Iterator[ContextCopy]:
    """Return the COPY and ADD instructions before the install among those that its stage consists of."""
    inherited = graph.inherited_instructions(install.stage)
    lines = {instruction.line for instruction in inherited}
    for copy in copies:
        line = copy.instruction.line
        is_before = line in lines and line < install.instruction.line
        if is_before and copy.instruction.keyword != "RUN":
            yield copy


def _find_needed_files(
    install: PackageInstall,
    copy: ContextCopy,
    facts: RepositoryFacts,
) -> frozenset[str] | None:
    """Return the copied files that say what to install; None where they are unknown."""
    if not install.manifests:
        return frozenset()
    copied = facts.files & copy.files
    found: set[str] = set()
    for name in install.manifests:
        found.update(_find_file(name, copied))
    if "package.json" in install.manifests:  # the packages of a workspace say what to install, too
        found.update(path for path in copied if _WORKSPACE_PACKAGE.search(path))
    return frozenset(found) if found else None


def _find_file(name: str, files: frozenset[str]) -> list[str]:
    """Return the file, if any, that a command names by its path in the image: the one with the longest common end."""
    tail = posixpath.normpath(name).lstrip("./")
    while tail:
        same = [path for path in files if f"/{path}".endswith(f"/{tail}")]
        if same:
            return sorted(same, key=lambda path: (path.count("/"), path))[:1]
        _, _, tail = tail.partition("/")
    return []


def _names_source(install: PackageInstall, copy: ContextCopy) -> bool:
    """Return whether the install command names a source of the COPY."""
    names = [posixpath.basename(source) for source in copy.sources if source]
    return any(name in install.command for name in names)


def _describe_early_copy(early: _EarlyCopy) -> str:
    copy = early.copy.instruction
    written = " ".join((copy.keyword, *copy.args))
    install = early.install
    message = (
        f"`{written}` comes before `{install.short_command}` (line {install.instruction.line}), "
        "so a change to any of its files runs the install again"
    )
    if early.caused:
        share = f"{len(early.caused)} of the last {len(early.rebuilds)} rebuilds"
        message += f"; it caused {share} (most often {_list_frequent_files(early)})"
    return message


def _list_frequent_files(early: _EarlyCopy) -> str:
    """Return the three files that caused the most rebuilds."""
    counts: Counter[str] = Counter()
    for changed in early.caused:
        counts.update(changed & early.not_needed)
    by_frequency = sorted(counts, key=lambda path: (-counts[path], path))
    names = [make_printable(path) for path in by_frequency[:3]]
    return ", ".join(names)


def _reorder_lines(early: _EarlyCopy) -> tuple[str, ...]:
    """Return the install with only the files that it needs, then the COPY, then the rest of the RUN."""
    install = early.install
    commands = [install.command]
    if not install.instruction.heredocs:
        commands = re.split(r"\s+&&\s+", install.command)
    end = 1
    for number, command in enumerate(commands, 1):
        if install.installs_in(command):
            end = number
    installing = " && ".join(commands[:end])
    rest = " && ".join(commands[end:])
    run = " ".join(("RUN", *install.instruction.flags))
    lines = [
        *_copy_needed_files(early.copy, early.needed),
        f"{run} {installing}",
        early.copy.instruction.text,
    ]
    if rest:
        lines.append(f"{run} {rest}")
    return tuple(lines)


def _copy_needed_files(copy: ContextCopy, needed: frozenset[str]) -> Iterator[str]:
    """Return a COPY for the files of each folder, to where the original COPY puts them."""
    root = _find_copied_root(copy)
    destination = copy.instruction.args[-1]
    names_by_folder: dict[str, list[str]] = {}
    for path in sorted(needed):
        folder = posixpath.dirname(path)
        names_by_folder.setdefault(folder, []).append(make_printable(path))
    for folder in sorted(names_by_folder):
        names = " ".join(names_by_folder[folder])
        inner = posixpath.relpath(folder or ".", root)
        target = posixpath.join(destination, inner)
        target = posixpath.normpath(target)
        yield f"COPY {names} {target}/"


def _find_copied_root(copy: ContextCopy) -> str:
    """Return the folder whose content the COPY takes; the context where it takes several sources."""
    source, *others = copy.sources
    if others or "*" in source:
        return "."
    return source.strip("/") or "."


def find_early_arguments(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each ARG that changes with every build and is declared before a RUN that does not use it.

    An ARG is in the environment of every RUN after it, used or not (docs.docker.com/reference/dockerfile, "Impact on
    build caching").
    """
    for stage in graph.needed_stages():
        for argument in _find_changing_arguments(stage):
            if argument.unused_runs:
                yield Finding(
                    rule="arg-early",
                    path=graph.path,
                    line=argument.declaration.line,
                    problem=_describe_early_argument(argument),
                    fix=_move_argument(argument),
                    stage=stage.name,
                    seconds=facts.seconds.get(stage.name),
                )


@dataclass(frozen=True)
class _ChangingArgument:
    """ARG whose value changes with each build, the RUNs after it that do not use it, and its first use."""

    name: str
    declaration: Instruction
    unused_runs: tuple[Instruction, ...]
    first_use: Instruction | None


def _find_changing_arguments(stage: Stage) -> Iterator[_ChangingArgument]:
    for position, instruction in enumerate(stage.instructions, 1):
        if instruction.keyword != "ARG":
            continue
        later = stage.instructions[position:]
        for name, default in instruction.declarations:
            has_value = not _PLACEHOLDER.fullmatch(default or "")
            if _CHANGING.search(name) and not has_value:
                yield _follow_argument(name, instruction, later)


def _follow_argument(
    name: str,
    declaration: Instruction,
    later: tuple[Instruction, ...],
) -> _ChangingArgument:
    """Return the RUNs until the first use of the argument, or of an ENV made from it."""
    names = [name]
    unused: list[Instruction] = []
    first_use = None
    for instruction in later:
        is_used = _mentions_any(names, instruction)
        if is_used and instruction.keyword == "ENV":
            names += [variable for variable, _ in instruction.assignments]
        elif is_used and instruction.keyword not in _METADATA:
            first_use = instruction
            break
        elif instruction.keyword == "RUN":
            unused.append(instruction)
    return _ChangingArgument(name, declaration, tuple(unused), first_use)


def _mentions_any(names: list[str], instruction: Instruction) -> bool:
    escaped = [re.escape(name) for name in names]
    pattern = rf"\b(?:{'|'.join(escaped)})\b"
    return re.search(pattern, instruction.full_text) is not None


def _describe_early_argument(argument: _ChangingArgument) -> str:
    first_unused = argument.unused_runs[0].line
    place = "to the end of the stage"
    if argument.first_use is not None:
        place = f"to just before line {argument.first_use.line}, which is the first to use it"
    return (
        f"ARG {argument.name} changes with every build, so the RUN in line {first_unused} runs again each time "
        f"although it does not use the value; move the ARG, and any ENV made from it, {place}"
    )


def _move_argument(argument: _ChangingArgument) -> tuple[str, ...]:
    """Return the last RUN that does not use the argument, the ARG, and the line of its first use."""
    last_unused = argument.unused_runs[-1]
    lines = [_first_line(last_unused), argument.declaration.text]
    if argument.first_use is not None:
        lines.append(_first_line(argument.first_use))
    return tuple(lines)


def _first_line(instruction: Instruction) -> str:
    """Return the first line of an instruction's text."""
    return instruction.text.partition("\n")[0]
