"""Follow what holds at each instruction of a stage: working folder, user, variables; and where COPY puts its files."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.parser import Instruction, expand_word_text
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph

_ID = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class StageState:
    """What holds before an instruction; None is unknown, because the base image decides.

    `variables` are those of ENV with known values. `unsure` are names whose value depends on the build. `folders` exist
    by a WORKDIR.
    """

    folder: str | None = None
    user: str | None = None
    shell: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()

    def find_path(self, word: str) -> str | None:
        """Return the absolute path that an instruction means; None where it is unknown."""
        expanded = self._expand(word)
        if expanded is None or "\\" in expanded:
            return None
        if not expanded.startswith("/"):
            if self.folder is None:
                return None
            expanded = posixpath.join(self.folder, expanded)
        return _normalize(expanded)

    def _expand(self, word: str) -> str | None:
        try:
            expanded = expand_word_text(word, self.variables, escape="\\", keep_unset=True)
        except ValueError:
            return None
        return None if "$" in expanded else expanded

    def after(self, instruction: Instruction) -> StageState:
        """Return what holds after an instruction."""
        changes = dict(self.__dict__)
        if instruction.keyword == "WORKDIR":
            changes["folder"] = self.find_path(" ".join(instruction.args))
            if changes["folder"] is not None and self.user in (None, "root", "0"):
                changes["folders"] = self.folders | {changes["folder"]}
        elif instruction.keyword == "USER":
            changes["user"] = instruction.args[0] if instruction.args else None
        elif instruction.keyword == "SHELL":
            changes["shell"] = True
        elif instruction.keyword in ("ENV", "ARG"):
            changes["variables"], changes["unsure"] = self._set_variables(instruction)
        return StageState(**changes)

    def _set_variables(self, instruction: Instruction) -> tuple[dict[str, str], frozenset[str]]:
        variables = dict(self.variables)
        unsure = set(self.unsure)
        if instruction.keyword == "ARG":
            unsure.update(name for name, _ in instruction.declarations if name not in self.variables)
            return variables, frozenset(unsure)
        for name, written in instruction.assignments:
            value = self._expand(written)
            variables.pop(name, None)
            unsure.discard(name)
            if value is None:
                unsure.add(name)
            else:
                variables[name] = value
        return variables, frozenset(unsure)


@dataclass(frozen=True, kw_only=True)
class StagePlace:
    """Instruction of a stage, the state before it, and what it takes from other stages and images."""

    instruction: Instruction
    state: StageState
    sources: tuple[str | ImageReference, ...] = ()

    @property
    def keyword(self) -> str:
        return self.instruction.keyword

    @property
    def is_copy(self) -> bool:
        return self.keyword in ("COPY", "ADD")

    @property
    def takes_changing_files(self) -> bool:
        """Return whether a COPY takes files that a commit may change: of the context or of another stage."""
        if not self.is_copy or any(isinstance(source, ImageReference) for source in self.sources):
            return False
        return not all("://" in word or word.startswith("<<") for word in self.instruction.args[:-1])

    @property
    def target(self) -> str | None:
        """Return the absolute path of a COPY's destination, which is a file or a folder; None where it is unknown."""
        return self.state.find_path(self.instruction.args[-1]) if self.instruction.args else None


def list_places(graph: StageGraph, stage: Stage) -> tuple[StagePlace, ...]:
    """Return the instructions of a stage, each with the state before it. ONBUILD triggers of its base are left out."""
    sources = {id(step.instruction): step.sources for step in stage.steps}
    places = []
    state = StageState()
    own = {id(instruction) for instruction in stage.instructions}
    for instruction in graph.inherited_instructions(stage):
        if instruction.keyword == "FROM":
            state = StageState(**{**state.__dict__, "unsure": frozenset()})
        if id(instruction) in own:
            found = sources.get(id(instruction), ())
            places.append(StagePlace(instruction=instruction, state=state, sources=found))
        state = state.after(instruction)
    return tuple(places)


def known_numbers(commands: Iterable[str]) -> dict[str, str]:
    """Return the numbers of users and groups that these commands create; `user:` or `group:` before each name."""
    numbers: dict[str, str] = {}
    for command in commands:
        for kind, found in _created_accounts(command):
            numbers[f"{kind}:{found[0]}"] = found[1]
    return numbers


def _created_accounts(command: str) -> Iterator[tuple[str, tuple[str, str]]]:
    words = command.replace("=", " ").split()
    if not words or not re.fullmatch(r"(?:group|user)add|add(?:group|user)", words[0]):
        return
    kind = "group" if "group" in words[0] else "user"
    flags = ("--gid", "-g") if kind == "group" else ("--uid", "-u")
    for flag, value in itertools.pairwise(words):
        if flag in flags and _ID.fullmatch(value):
            yield kind, (words[-1], value)


def is_within(path: str, folder: str) -> bool:
    """Return whether a path is a folder or below it."""
    return folder in (path, "/") or path.startswith(f"{folder}/")


def overlap(one: str, other: str) -> bool:
    """Return whether one of two paths is the other or below it."""
    return is_within(one, other) or is_within(other, one)


def _normalize(path: str) -> str:
    return "/" + posixpath.normpath(path).strip("/") if posixpath.normpath(path) != "/" else "/"
