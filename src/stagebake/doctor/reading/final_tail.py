"""Read the end of the final stage: the steps that each push of code runs, and what each of their commands does."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.reading.push_model import (
    PushModel,
    StepPlace,
    expand_known,
    expand_values,
    known_values,
    list_chain,
)
from stagebake.doctor.reading.shell_commands import ShellCommand, read_commands

# Programs that set up the system and read nothing of the code, unless a path of theirs says so
_SETUP = frozenset({
    "mkdir", "useradd", "adduser", "groupadd", "addgroup", "usermod", "groupmod", "ln", "touch", "locale-gen",
    "update-ca-certificates", "corepack", "true", "set", "install", "ldconfig",
})  # fmt: skip
_OWNERS = frozenset({"chown", "chmod", "chgrp"})
_PRUNES = re.compile(
    r"(?:npm (?:\S+ )*prune|pnpm (?:\S+ )*prune|yarn (?:\S+ )*--production|yarn workspaces focus|bundle clean|rm) "
)
_LINK_FOLDERS = re.compile(r"^/(?:bin|sbin|lib|lib64|lib32|var/run|var/lock)(?:/|$)")


@dataclass(frozen=True)
class CopiedPath:
    """COPY or ADD of the tail, and the absolute path in the image that it writes to; None where that is unknown."""

    place: StepPlace
    path: str | None

    @property
    def instruction(self) -> Instruction:
        return self.place.step.instruction


@dataclass(frozen=True)
class TailRun:
    """RUN of the tail with its commands, the folder that it starts in, and the COPYs before it.

    `first_copy` is the first COPY that code changes. `has_new_environment` says that USER or SHELL is between.
    `other_paths` are where RUNs before it may have put files, `values` the variables that are known.
    """

    place: StepPlace
    commands: tuple[ShellCommand, ...]
    folder: str
    copies: tuple[CopiedPath, ...]
    first_copy: CopiedPath
    has_new_environment: bool
    other_paths: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def instruction(self) -> Instruction:
        return self.place.step.instruction


@dataclass(frozen=True, kw_only=True)
class FinalTail:
    """Steps of the final stage from the first COPY that code changes on; empty where code changes none of its COPYs."""

    steps: tuple[StepPlace, ...] = ()
    copies: tuple[CopiedPath, ...] = ()
    runs: tuple[TailRun, ...] = ()


def read_tail(graph: StageGraph, model: PushModel) -> FinalTail:
    """Return the tail of the final stage."""
    folder = "/"
    steps: list[StepPlace] = []
    copies: list[CopiedPath] = []
    runs: list[TailRun] = []
    changed_environment = False
    others: list[str] = []
    all_copies: list[CopiedPath] = []
    values = known_values(graph, graph.final)
    for place in list_chain(graph, graph.final):
        instruction = place.step.instruction
        if instruction.keyword == "WORKDIR":
            folder = posixpath.join(folder, instruction.args[0])
        if instruction.keyword in ("COPY", "ADD"):
            copied = CopiedPath(place, _destination(instruction, folder, graph))
            all_copies.append(copied)
            if model.is_code_step(place):
                copies.append(copied)
        if instruction.keyword == "RUN" and not copies and folder != "/":
            others.append(folder)
        if not copies:
            continue
        steps.append(place)
        if instruction.keyword in ("USER", "SHELL"):
            changed_environment = True
        if instruction.keyword == "RUN":
            commands = read_commands(instruction)
            run = TailRun(
                place=place,
                commands=commands,
                folder=folder,
                copies=tuple(all_copies),
                first_copy=copies[0],
                has_new_environment=changed_environment,
                other_paths=tuple(others),
                values=values,
            )
            runs.append(run)
            if folder != "/":
                others.append(folder)
    return FinalTail(steps=tuple(steps), copies=tuple(copies), runs=tuple(runs))


def _destination(instruction: Instruction, folder: str, graph: StageGraph) -> str | None:
    written = expand_known(instruction.args[-1], graph, graph.final)
    if "$" in written:
        return None
    path = posixpath.normpath(posixpath.join(folder, written))
    sources = instruction.args[:-1]
    into_folder = written.endswith("/") or written in (".", "..")
    if into_folder and len(sources) == 1 and re.search(r"\w\.\w+$", sources[0]):  # a file, by its name
        return posixpath.join(path, posixpath.basename(sources[0]))
    return path


def list_paths(run: TailRun, command: ShellCommand) -> Iterator[str]:
    """Return the absolute paths that the operands of a command may be; a variable stays in them."""
    folder = run.folder
    for other in run.commands:
        if other is command:
            break
        if other.program == "cd" and other.operands:
            folder = posixpath.join(folder, other.operands[0])
    words = command.operands[1:] if command.program in _OWNERS else command.operands
    for word in words:
        yield posixpath.normpath(posixpath.join(folder, expand_values(word, run.values)))


def covers(above: str, below: str) -> bool:
    """Return whether a path is another one or above it; a `*` at its end is what is in the folder."""
    plain = above.rstrip("*").rstrip("/") or "/"
    return f"{below}/".startswith(plain.rstrip("/") + "/")


def touched_copies(run: TailRun, command: ShellCommand) -> tuple[CopiedPath, ...]:
    """Return the COPYs of changing files before the RUN that a command names, by a path of theirs or one above."""
    touched = []
    for copy in run.copies:
        if copy.path is None or copy.path == "/":
            continue
        for path in list_paths(run, command):
            if "$" not in path and (covers(path, copy.path) or covers(copy.path, path)):
                touched.append(copy)
                break
    return tuple(touched)


def is_setup(run: TailRun, command: ShellCommand) -> bool:
    """Return whether a command sets up the system without the code: users, empty folders, links."""
    if command.program not in _SETUP | _OWNERS:
        return False
    if command.program == "install" and "-d" not in command.arguments:
        return False
    paths = list(list_paths(run, command))
    names_unknown = any("$" in path or "*" in path for path in paths)
    if command.program in _OWNERS:
        return not names_unknown and not any(_is_inside(run, path) or _is_above(run, path) for path in paths)
    if command.program == "corepack" and command.operands[:1] != ("enable",):  # `corepack install` reads package.json
        return False
    if command.program == "ln":  # what a symbolic link leads to need not exist yet
        is_symbolic = any(re.fullmatch(r"-\w*s\w*|--symbolic", word) for word in command.arguments)
        return is_symbolic and not names_unknown and not any(_is_inside(run, path) for path in paths[1:])
    return not names_unknown


def _is_inside(run: TailRun, path: str) -> bool:
    return any(copy.path is None or covers(copy.path, path) for copy in run.copies)


def _is_above(run: TailRun, path: str) -> bool:
    return any(copy.path is None or covers(path, copy.path) for copy in run.copies)


def is_prune(command: ShellCommand) -> bool:
    """Return whether a command removes files or packages."""
    text = " ".join((command.program, *command.arguments[1:])) + " "
    return _PRUNES.match(text) is not None


def is_linked_folder(path: str) -> bool:
    """Return whether a path goes through a folder that is a symbolic link in the images of distributions."""
    return _LINK_FOLDERS.match(path) is not None
