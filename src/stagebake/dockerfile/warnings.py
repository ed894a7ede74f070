"""Warn before a build about what the Dockerfile or --no-cache does against expectation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction, onbuild_instructions
from stagebake.dockerfile.stages import ForcedStages, StageGraph
from stagebake.dockerfile.variables import looks_secret
from stagebake.errors import InputError

# The word for a secret is the last one: APT_KEY_DONT_WARN and TOKEN_LIFETIME say how something is done
_NAMES_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|pass(?:phrase|w(?:or)?d)?|pword|pwd|secret|token)\d*$", re.IGNORECASE
)
# Keys that are meant to be public: of web pages, of signatures
_NAMES_PUBLIC = re.compile(r"(?:^|_)(?:anon|gpg|site|publishable|vite|react_app|nuxt_public|no)(?:_|$)", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"[\"']?(?:.*(?:change|default|dummy|example|fake|insecure|placeholder|replace|required|sample|test|temp|xxx|your).*"
    r"|none|null|true|false|unset|\d*)[\"']?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SecretVariable:
    """ARG or ENV whose name says that it holds a secret."""

    name: str
    instruction: Instruction

    @property
    def problem(self) -> str:
        keyword = self.instruction.keyword
        return f"{keyword} {self.name} looks like a secret; its value stays in the image history and caches"

    @property
    def mount_flag(self) -> str:
        """Return the flag with which a RUN reads the secret instead."""
        return f"--mount=type=secret,{self._identity}"

    @property
    def build_flag(self) -> str:
        """Return the flag with which a build passes the secret instead."""
        return f"--secret {self._identity}"

    @property
    def _identity(self) -> str:
        return f"id={self.name.lower()},env={self.name}"


def secret_warnings(graph: StageGraph) -> tuple[str, ...]:
    """Return a warning for each ARG or ENV whose name says that it holds a secret."""
    warnings = []
    for variable in list_secret_variables(graph):
        where = f"{graph.path}:{variable.instruction.line}"
        fix = f"use RUN {variable.mount_flag} and {variable.build_flag}"
        warnings.append(f"{where}: {variable.problem}; {fix}")
    return tuple(warnings)


def namesake_warnings(graph: StageGraph) -> tuple[str, ...]:
    """Return a warning for each stage whose name a later stage has too."""
    warnings = []
    for stage in graph.stages:
        if stage.written_name and not stage.has_name:
            last = graph[stage.displayed_name]
            warnings.append(
                f"{graph.path}:{stage.line}: line {last.line} uses the stage name `{stage.written_name}` again, and "
                f"--target and COPY --from find that stage only; this one is called `{stage.name}` here; rename one"
            )
    return tuple(warnings)


def list_secret_variables(graph: StageGraph) -> Iterator[SecretVariable]:
    """Return each ARG or ENV of a stage whose name says that it holds a secret.

    An ARG before the first FROM is not in the history (measured); the ARG of a stage that repeats it is.
    """
    for stage in graph.stages:
        placeholders = _list_placeholders(stage.instructions)
        for instruction in stage.instructions:
            for effective in _unwrap_onbuild(instruction, graph.path):
                for name in _list_set_names(effective):
                    if looks_secret(name) and name not in placeholders:
                        yield SecretVariable(name, effective)


def force_warnings(graph: StageGraph, forced: ForcedStages) -> tuple[str, ...]:
    """Return a warning about stages that --no-cache names without effect, and about those that it forces in addition.

    A stage that the target does not need is not built. A stage without a name cannot be forced alone.
    """
    needed = {stage.name for stage in graph.needed_stages()}
    warnings = []
    not_needed = [f"`{name}`" for name in forced.named if name not in needed]
    if not_needed:
        warnings.append(
            f"--no-cache: {graph.final.name} does not need {', '.join(not_needed)}, so the build does not run it"
        )
    added = [f"`{name}`" for name in graph.names if name in needed & forced.added]
    if added and forced.unnamed_stage is not None:
        where = f"{graph.path}:{forced.unnamed_stage.line}"
        warnings.append(
            f"--no-cache: BuildKit forces stages by name, but the stage in {where} has no name, so "
            f"{', '.join(added)} is rebuilt too; write FROM … AS NAME"
        )
    return tuple(warnings)


def writable_by_others(mode: int) -> bool:
    """Return whether a checked-out file has another mode than under umask 022, which GitHub's runners have.

    Modes are part of BuildKit's cache keys (moby/buildkit, cache/contenthash), so such files never match the caches.
    """
    return bool(mode & 0o022)


def _unwrap_onbuild(instruction: Instruction, path: str) -> tuple[Instruction, ...]:
    """Return the instruction, or what an ONBUILD contains; nothing where that is not valid."""
    if instruction.keyword != "ONBUILD":
        return (instruction,)
    try:
        return onbuild_instructions(instruction, path)
    except InputError:
        return ()


def _list_placeholders(instructions: Iterable[Instruction]) -> set[str]:
    """Return the names that an ARG declares with a placeholder as its default: an ENV of that name takes it."""
    names = set()
    for instruction in instructions:
        if instruction.keyword == "ARG":
            names |= {name for name, default in instruction.declarations if default and _PLACEHOLDER.fullmatch(default)}
    return names


def _list_set_names(instruction: Instruction) -> list[str]:
    """Return the names that an ARG declares, or that an ENV sets, to what may be a secret; not to a placeholder."""
    assigned: list[tuple[str, str | None]] = []
    if instruction.keyword == "ARG":
        assigned = list(instruction.declarations)
    elif instruction.keyword == "ENV":
        assigned = [(name, value) for name, value in instruction.assignments if value.strip("\"'")]
    names = []
    for name, value in assigned:
        is_secret = _NAMES_SECRET.search(name) and not _NAMES_PUBLIC.search(name)
        is_placeholder = value is not None and value.strip("\"'") and _PLACEHOLDER.fullmatch(value)
        if is_secret and not is_placeholder:
            names.append(name)
    return names
