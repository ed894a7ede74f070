"""Find ARGs that change with every build and come too early, and secrets in ARG and ENV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.dockerfile.warnings import list_secret_variables
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.shell_commands import only_installs
from stagebake.doctor.reading.subject import Subject

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


def find_early_arguments(subject: Subject) -> Iterator[Finding]:
    """Find each ARG that changes with every build and is declared before a RUN that cannot use it.

    Programs read the environment: a RUN that compiles or runs code may use the ARG without naming it.
    An ARG is in the environment of every RUN after it, used or not (docs.docker.com/reference/dockerfile, "Impact on
    build caching").
    """
    graph = subject.graph
    for stage in graph.needed_stages():
        for argument in _find_changing_arguments(stage, subject):
            if argument.unused_runs:
                yield Finding(
                    rule="arg-early",
                    path=graph.path,
                    line=argument.declaration.line,
                    problem=_describe_early_argument(argument),
                    fix=_move_argument(argument),
                    stage=stage.name,
                    seconds=subject.facts.seconds.get(stage.name),
                )


@dataclass(frozen=True)
class _ChangingArgument:
    """ARG whose value changes with each build, the RUNs after it that do not use it, and its first use.

    `carriers` are the ENVs and LABELs before its first use that take the value.
    """

    name: str
    declaration: Instruction
    unused_runs: tuple[Instruction, ...]
    carriers: tuple[Instruction, ...]
    first_use: Instruction | None


def _find_changing_arguments(stage: Stage, subject: Subject) -> Iterator[_ChangingArgument]:
    code_lines = {place.step.instruction.line for place in subject.model.places if subject.model.is_code_step(place)}
    for position, instruction in enumerate(stage.instructions, 1):
        if instruction.keyword != "ARG":
            continue
        later = stage.instructions[position:]
        for name, default in instruction.declarations:
            outer = subject.graph.variables.get(name, "") if default is None else default
            has_value = not _PLACEHOLDER.fullmatch(outer)
            if _CHANGING.search(name) and not has_value:
                yield _follow_argument(name, instruction, later, _list_derived(stage, subject.graph), code_lines)


def _list_derived(stage: Stage, graph: StageGraph) -> tuple[Instruction, ...]:
    """Return the instructions of the needed stages that start from a stage: its ENVs are theirs as well."""
    derived: list[Instruction] = []
    for other in graph.needed_stages():
        if other is not stage and stage.instructions[0] in graph.inherited_instructions(other):
            derived += other.instructions[1:]
    return tuple(derived)


def _follow_argument(
    name: str,
    declaration: Instruction,
    later: tuple[Instruction, ...],
    derived: tuple[Instruction, ...],
    code_lines: set[int],
) -> _ChangingArgument:
    """Return the RUNs until the first use of the argument, or of an ENV made from it."""
    names = [name]
    unused: list[Instruction] = []
    carriers: list[Instruction] = []
    first_use = None
    for instruction in (*later, *derived):
        if instruction in derived and len(names) == 1:
            break  # stages that start from this one see its ENVs, not its ARGs
        is_used = _mentions_any(names, instruction)
        if is_used and instruction.keyword == "ENV":
            names += [variable for variable, value in instruction.assignments if _mentions_word(name, value)]
        if is_used and instruction.keyword in _METADATA:
            carriers.append(instruction)
        elif is_used:
            first_use = instruction
            break
        elif instruction.keyword == "RUN":
            if not only_installs(instruction):
                first_use = _first_of_pair(instruction, (*later, *derived))
                break
            if instruction.line not in code_lines:
                unused.append(instruction)
    return _ChangingArgument(name, declaration, tuple(unused), tuple(carriers), first_use)


def _mentions_word(name: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def _first_of_pair(run: Instruction, later: tuple[Instruction, ...]) -> Instruction:
    """Return the COPY directly before a RUN, with which it runs together; else the RUN."""
    position = later.index(run)
    before = later[position - 1] if position else run
    return before if before.keyword in ("COPY", "ADD") else run


def _mentions_any(names: list[str], instruction: Instruction) -> bool:
    escaped = [re.escape(name) for name in names]
    pattern = rf"\b(?:{'|'.join(escaped)})\b"
    return re.search(pattern, instruction.full_text) is not None


def _describe_early_argument(argument: _ChangingArgument) -> str:
    first_unused = argument.unused_runs[0].line
    place = "to the end of the stage"
    if argument.first_use is not None:
        place = f"to just before line {argument.first_use.line}, which is the first that may use it"
    return (
        f"ARG {argument.name} changes with every build, so the RUN in line {first_unused} runs again each time "
        f"although it does not use the value; move the ARG, and any ENV or LABEL made from it, {place}"
    )


def _move_argument(argument: _ChangingArgument) -> tuple[str, ...]:
    """Return the last RUN that does not use the argument, the ARG with what takes its value, and its first use.

    Return nothing where an ENV also sets variables that the RUNs before may need, or where stages share the value.
    """
    carriers = [carrier for carrier in argument.carriers if carrier.keyword != "ARG"]
    if any(carrier.keyword == "ENV" and len(carrier.assignments) > 1 for carrier in carriers):
        return ()
    last_unused = argument.unused_runs[-1]
    lines = [_first_line(last_unused), argument.declaration.text, *(carrier.text for carrier in carriers)]
    if argument.first_use is not None:
        lines.append(_first_line(argument.first_use))
    return tuple(lines)


def _first_line(instruction: Instruction) -> str:
    """Return the first line of an instruction's text."""
    return instruction.text.partition("\n")[0]


def find_secret_variables(subject: Subject) -> Iterator[Finding]:
    """Find each ARG or ENV that looks like a secret."""
    graph = subject.graph
    seen: set[str] = set()
    for variable in list_secret_variables(graph):
        if variable.name in seen:
            continue
        seen.add(variable.name)
        yield Finding(
            rule="secret",
            path=graph.path,
            line=variable.instruction.line,
            problem=variable.problem,
            fix=(f"RUN {variable.mount_flag} …", f"# build with {variable.build_flag}"),
        )
