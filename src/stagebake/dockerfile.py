"""Dockerfile text to StageGraph: the stages, and what each takes from the others and from outside.

The rules are those of BuildKit's frontend (moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go):
stage names are case-insensitive, FROM looks for earlier stages only, COPY --from and RUN --mount=from= for all,
and COPY --from takes a stage's number as well. This is the one module that knows the parser behind it.
"""

from __future__ import annotations

import difflib
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from e2b_dockerfile_utils import DockerfileInstruction as ParsedInstruction
from e2b_dockerfile_utils import DockerfileSyntaxError, ShellLex, parse_dockerfile_ast

from stagebake.errors import InputError

# BuildKit's instructions/parse.go, validStageName
STAGE_NAME = re.compile(r"^[a-z][a-z0-9-_.]*$")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7"}


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction as written; `text` is the line with its continuations joined, `line` where it starts."""

    keyword: str
    text: str
    flags: tuple[str, ...]
    args: tuple[str, ...]
    heredocs: tuple[str, ...]
    line: int

    def flag(self, name: str) -> str | None:
        """Value of `--name=value`; "" for a bare `--name`, None where the flag is absent."""
        for flag in self.flags:
            key, _, value = flag.removeprefix("--").partition("=")
            if key == name:
                return value
        return None


@dataclass(frozen=True, kw_only=True)
class ImageUse:
    """An image from outside that a stage starts from or copies from."""

    name: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage. `target` is what BuildKit's `--target` takes: the name as written, or the number."""

    name: str
    index: int
    line: int
    target: str
    instructions: tuple[Instruction, ...]
    parents: tuple[str, ...]
    images: tuple[ImageUse, ...]

    @property
    def named(self) -> bool:
        return not self.target.isdigit()


@dataclass(frozen=True, kw_only=True)
class StageGraph:
    """All stages of one Dockerfile, in its order, and the stage that is built."""

    path: str
    stages: tuple[Stage, ...]
    final: Stage

    def __getitem__(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    def needed(self) -> tuple[Stage, ...]:
        """The stages that the final one is made of, itself included, each after those it takes from."""
        order = TopologicalSorter({stage.name: stage.parents for stage in self._below(self.final)})
        return tuple(self[name] for name in order.static_order())

    def dependents(self, names: Iterable[str]) -> frozenset[str]:
        """These stages and every stage that takes from one of them, over any number of steps."""
        wanted = set(names)
        return frozenset(s.name for s in self.stages if wanted & {below.name for below in self._below(s)})

    def find(self, wanted: str) -> Stage:
        """The stage of that name (any case) or number. Raises InputError that lists the stages."""
        for stage in self.stages:
            if wanted.lower() in (stage.name, stage.target.lower()):
                return stage
        raise _unknown_stage(self.path, wanted, self.names)

    def _below(self, stage: Stage) -> tuple[Stage, ...]:
        seen = {stage.name: stage}
        queue = [stage]
        while queue:
            fresh = [self[name] for name in queue.pop().parents if name not in seen]
            seen.update((parent.name, parent) for parent in fresh)
            queue.extend(fresh)
        return tuple(s for s in self.stages if s.name in seen)


def parse(
    text: str,
    *,
    path: str = "Dockerfile",
    target: str | None = None,
    args: Mapping[str, str] | None = None,
    platforms: tuple[str, ...] = (),
    contexts: Iterable[str] = (),
) -> StageGraph:
    """Reads a Dockerfile into its StageGraph.

    `target` is the final stage (default: the last), `args` the build arguments that FROM lines see, `platforms` what
    TARGETPLATFORM and its like come from, and `contexts` the names that bake's `contexts` put in the place of images.
    Raises InputError with `path:line:` for what BuildKit would refuse, and for stage names that differ only by case.
    """
    instructions = _instructions(text, path)
    variables = _global_variables(instructions, args or {}, platforms)
    drafts = _split(instructions, path)
    stages = tuple(_stage(draft, drafts, variables, path, frozenset(contexts)) for draft in drafts)
    graph = StageGraph(path=path, stages=stages, final=stages[-1])
    _refuse_cycles(graph)
    return graph if target is None else StageGraph(path=path, stages=stages, final=graph.find(target))


def _instructions(text: str, path: str) -> tuple[Instruction, ...]:
    try:
        parsed = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).split(": ", 1)[-1]
        raise InputError(f"{path}:{error.line or 1}: {message}", "correct the Dockerfile") from None
    return tuple(_instruction(node) for node in parsed.instructions)


def _instruction(node: ParsedInstruction) -> Instruction:
    return Instruction(
        keyword=node.name,
        text=node.original,
        flags=tuple(node.flags),
        args=tuple(node.args),
        heredocs=tuple(heredoc.content for heredoc in node.heredocs),
        line=node.start_line,
    )


def _global_variables(
    instructions: tuple[Instruction, ...], args: Mapping[str, str], platforms: tuple[str, ...]
) -> dict[str, str]:
    """The ARGs before the first FROM, as FROM lines see them, over the platform's predefined ones."""
    variables = _platform_variables(platforms)
    for instruction in instructions:
        if instruction.keyword == "FROM":
            break
        for word in instruction.args:
            name, given, default = word.partition("=")
            value = args.get(name, _expand(default, variables) if given else variables.get(name))
            if value is not None:
                variables[name] = value
    return variables


def _platform_variables(platforms: tuple[str, ...]) -> dict[str, str]:
    machine = platform.machine()
    build = f"linux/{_ARCHITECTURES.get(machine, machine)}"
    variables = {}
    for prefix, value in (("BUILD", build), ("TARGET", platforms[0] if platforms else build)):
        system, _, rest = value.partition("/")
        architecture, _, variant = rest.partition("/")
        variables[f"{prefix}PLATFORM"] = value
        variables |= {f"{prefix}OS": system, f"{prefix}ARCH": architecture, f"{prefix}VARIANT": variant}
    return variables


def _expand(word: str, variables: Mapping[str, str]) -> str:
    return ShellLex("\\", env=variables, skip_unset_env=False).process_word(word)


@dataclass(frozen=True)
class _Draft:
    name: str
    index: int
    target: str
    instructions: tuple[Instruction, ...]

    @property
    def line(self) -> int:
        return self.instructions[0].line


def _split(instructions: tuple[Instruction, ...], path: str) -> tuple[_Draft, ...]:
    """Groups instructions by stage and names each stage."""
    starts = [i for i, instruction in enumerate(instructions) if instruction.keyword == "FROM"]
    if not starts:
        raise InputError(f"{path}:1: no FROM: a Dockerfile has at least one stage", "add a FROM line")
    for early in instructions[: starts[0]]:
        if early.keyword != "ARG":
            raise InputError(f"{path}:{early.line}: {early.keyword} before the first FROM", "only ARG may stand there")
    groups = [instructions[a:b] for a, b in zip(starts, [*starts[1:], len(instructions)], strict=True)]
    written = [_written_name(group[0], path) for group in groups]
    _refuse_duplicates(written, groups, path)
    taken = {name.lower() for name in written if name}
    return tuple(
        _Draft(name.lower() if name else _free_name(index, taken), index, name or str(index), group)
        for index, (name, group) in enumerate(zip(written, groups, strict=True))
    )


def _written_name(instruction: Instruction, path: str) -> str | None:
    match instruction.args:
        case (_,):
            return None
        case (_, keyword, name) if keyword.lower() == "as":
            if not STAGE_NAME.match(name.lower()):
                raise InputError(
                    f"{path}:{instruction.line}: `{name}` is no name for a stage",
                    "start it with a letter, and use letters, digits, `-`, `_` and `.`",
                )
            return name
    raise InputError(f"{path}:{instruction.line}: FROM takes one or three arguments", "write `FROM image [AS name]`")


def _refuse_duplicates(written: list[str | None], groups: list[tuple[Instruction, ...]], path: str) -> None:
    first: dict[str, tuple[str, int]] = {}
    for name, group in zip(written, groups, strict=True):
        if name is None:
            continue
        if name.lower() in first:
            other, line = first[name.lower()]
            raise InputError(
                f"{path}:{group[0].line}: stage `{name}` has the name of stage `{other}` in line {line}",
                "rename one of them: stage names are case-insensitive",
            )
        first[name.lower()] = (name, group[0].line)


def _free_name(index: int, taken: set[str]) -> str:
    name = f"stage-{index}"
    while name in taken:
        name += "-unnamed"
    return name


def _stage(
    draft: _Draft,
    drafts: tuple[_Draft, ...],
    variables: Mapping[str, str],
    path: str,
    contexts: frozenset[str],
) -> Stage:
    parents: dict[str, None] = {}
    images: list[ImageUse] = []
    for source in _sources(draft, drafts, variables, path, contexts):
        if isinstance(source, ImageUse):
            images.append(source)
        else:
            parents[source] = None
    return Stage(
        name=draft.name,
        index=draft.index,
        line=draft.line,
        target=draft.target,
        instructions=draft.instructions,
        parents=tuple(parents),
        images=tuple(images),
    )


def _sources(
    draft: _Draft,
    drafts: tuple[_Draft, ...],
    variables: Mapping[str, str],
    path: str,
    contexts: frozenset[str],
) -> Iterator[str | ImageUse]:
    by_name = {other.name: other for other in drafts if not other.target.isdigit()}
    start = draft.instructions[0]
    base = _base_name(start, variables, path)
    earlier = by_name.get(base.lower())
    if earlier is not None and earlier.index < draft.index:
        yield earlier.name
    elif base != "scratch":
        yield ImageUse(name=base, line=start.line)
    for instruction in draft.instructions[1:]:
        for reference in _references(instruction, path):
            if reference.lower() in by_name:
                yield reference.lower()
            elif instruction.keyword == "COPY" and reference.isdigit():
                yield _numbered(reference, drafts, instruction, path)
            elif reference != "scratch":
                _refuse_misspelt(reference, by_name, instruction, path, contexts)
                yield ImageUse(name=reference, line=instruction.line)


def _base_name(instruction: Instruction, variables: Mapping[str, str], path: str) -> str:
    word = instruction.args[0]
    try:
        name = _expand(word, variables)
    except ValueError as error:
        raise InputError(f"{path}:{instruction.line}: {error}", "correct the FROM line") from None
    if not name:
        raise InputError(
            f"{path}:{instruction.line}: `FROM {word}` is empty: no ARG before the first FROM gives it a value",
            f"give the ARG a default, or set it under `args` in the settings: {word}",
        )
    return name


def _references(instruction: Instruction, path: str) -> Iterator[str]:
    """The `from` of COPY and of each RUN mount."""
    if instruction.keyword == "COPY" and (source := instruction.flag("from")):
        yield _plain(source, instruction, path)
    if instruction.keyword == "RUN":
        for flag in instruction.flags:
            if flag.startswith("--mount="):
                pairs = dict(part.partition("=")[::2] for part in flag.removeprefix("--mount=").split(","))
                if source := pairs.get("from"):
                    yield _plain(source, instruction, path)


def _plain(source: str, instruction: Instruction, path: str) -> str:
    if "$" in source:
        raise InputError(
            f"{path}:{instruction.line}: BuildKit expands no variable in `from={source}`",
            "give the image a stage of its own (`FROM ${X} AS name`) and copy from that",
        )
    return source


def _numbered(reference: str, drafts: tuple[_Draft, ...], instruction: Instruction, path: str) -> str:
    if int(reference) >= len(drafts):
        raise InputError(
            f"{path}:{instruction.line}: COPY --from={reference}: there are stages 0 to {len(drafts) - 1}",
            "name the stage instead of counting: `FROM … AS name`, `COPY --from=name`",
        )
    return drafts[int(reference)].name


def _refuse_misspelt(
    reference: str,
    by_name: Mapping[str, _Draft],
    instruction: Instruction,
    path: str,
    contexts: frozenset[str],
) -> None:
    """A bare word that all but is a stage's name is a slip; any other may be an image, as BuildKit takes it."""
    if reference in contexts or re.search(r"[/:@.]", reference):
        return
    if difflib.get_close_matches(reference.lower(), by_name, n=1, cutoff=0.75):
        raise _unknown_stage(f"{path}:{instruction.line}", reference, tuple(by_name))


def _unknown_stage(where: str, wanted: str, names: tuple[str, ...]) -> InputError:
    close = difflib.get_close_matches(wanted.lower(), names, n=1)
    guess = f"did you mean `{close[0]}`? " if close else ""
    return InputError(f"{where}: no stage `{wanted}`", f"{guess}the stages are: {', '.join(names)}")


def _refuse_cycles(graph: StageGraph) -> None:
    try:
        TopologicalSorter({stage.name: stage.parents for stage in graph.stages}).prepare()
    except CycleError as error:
        ring = error.args[1]
        raise InputError(
            f"{graph.path}:{graph[ring[0]].line}: stages depend on each other in a circle: {' → '.join(ring)}",
            "take one of these COPY --from or FROM references out",
        ) from None
