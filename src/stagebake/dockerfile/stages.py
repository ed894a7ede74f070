"""Dockerfile text to StageGraph: the stages, and what each takes from the others and from outside.

The rules are those of BuildKit's frontend (moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go):
stage names are case-insensitive, FROM looks for earlier stages only, COPY --from and RUN --mount=from= for all,
and COPY --from takes a stage's number as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from stagebake.dockerfile.parser import Instruction, onbuild_instructions, parse_instructions, syntax_image
from stagebake.dockerfile.variables import expand_word, global_args, predefined_args
from stagebake.errors import InputError
from stagebake.formatting import did_you_mean, find_similar_name

# BuildKit's instructions/parse.go, validStageName
STAGE_NAME = re.compile(r"^[a-z][a-z0-9-_.]*$")


@dataclass(frozen=True, kw_only=True)
class ImageReference:
    """An image from outside that a stage starts from or copies from."""

    name: str
    line: int


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """An instruction where it takes effect, with the stages (by name) and the images that it takes from."""

    instruction: Instruction
    sources: tuple[str | ImageReference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage. `target` is the name as written, for BuildKit's `--target`; None where the stage has no name.

    `steps` are its instructions, with the ONBUILD triggers of the stage that it starts from after its FROM.
    """

    name: str
    index: int
    line: int
    target: str | None
    instructions: tuple[Instruction, ...]
    steps: tuple[StageStep, ...]

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """The stages it takes from, each once."""
        return tuple(dict.fromkeys(source for step in self.steps for source in step.sources if isinstance(source, str)))

    @property
    def images(self) -> tuple[ImageReference, ...]:
        return tuple(source for step in self.steps for source in step.sources if isinstance(source, ImageReference))

    @property
    def named(self) -> bool:
        return self.target is not None


@dataclass(frozen=True, kw_only=True)
class ForcedStages:
    """Stages that --no-cache forces, and what BuildKit rebuilds because of them.

    `named` are the stages that --no-cache names, all of them for its bare form. `with_dependents` are the stages that
    take nothing from any cache. `bake_filter` holds their written names for bake's `no-cache-filter`; it is empty
    where `covers_all`, which needs `no-cache` instead.
    BuildKit forces stages by their written names. Where one of the stages to force has no name (`unnamed_stage`), all
    stages are forced; `added` are those that would not have been forced otherwise.
    """

    named: tuple[str, ...] = ()
    with_dependents: frozenset[str] = frozenset()
    bake_filter: tuple[str, ...] = ()
    covers_all: bool = False
    unnamed_stage: Stage | None = None
    added: frozenset[str] = frozenset()

    def is_forced(self, name: str) -> bool:
        """Return whether --no-cache itself forces the stage, rather than a parent that is rebuilt."""
        return name in self.named or self.unnamed_stage is not None


@dataclass(frozen=True, kw_only=True)
class StageGraph:
    """All stages of one Dockerfile, in its order, and the stage that is built.

    `args` are the build arguments that it was read with, `variables` what its FROM lines see: the ARGs before the
    first one and the predefined ones. `contexts` are the names that stand for something else than the Dockerfile says,
    `syntax` is the frontend that a `# syntax=` line asks for.
    """

    path: str
    stages: tuple[Stage, ...]
    final: Stage
    args: Mapping[str, str]
    variables: Mapping[str, str]
    contexts: frozenset[str]
    syntax: str | None

    def __getitem__(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    def needed_stages(self) -> tuple[Stage, ...]:
        """The stages that the final one is made of, itself included, each after those it takes from."""
        order = TopologicalSorter({stage.name: stage.parents for stage in self._below(self.final)})
        return tuple(self[name] for name in order.static_order())

    def with_dependents(self, names: Iterable[str]) -> frozenset[str]:
        """These stages and every stage that takes from one of them, over any number of steps."""
        wanted = set(names)
        return frozenset(s.name for s in self.stages if wanted & {below.name for below in self._below(s)})

    @property
    def buildable_stages(self) -> tuple[Stage, ...]:
        """The stages that can be built by themselves: BuildKit finds a stage by its name, or the last one."""
        return tuple(stage for stage in self.stages if stage.named or stage is self.stages[-1])

    def find_stage(self, wanted: str, origin: str) -> Stage:
        """The stage of that name, in any case. Raises InputError that names the origin and lists the stages."""
        return _found(wanted, origin, self.stages)

    def find_target(self, wanted: str, origin: str | None = None) -> Stage:
        """The same of the stages that can be built by themselves."""
        return _found(wanted, origin or self.path, self.buildable_stages)

    def force_stages(self, names: Iterable[str]) -> ForcedStages:
        """Return what a build must rebuild when it forces the stages of these names."""
        named = tuple(dict.fromkeys(names))
        affected = self.with_dependents(named)
        unnamed = [stage for stage in self.stages if stage.name in affected and not stage.named]
        forced = frozenset(self.names) if unnamed else affected
        covers_all = len(forced) == len(self.stages)
        written = [stage.target for stage in self.stages if stage.name in forced and stage.target is not None]
        return ForcedStages(
            named=named,
            with_dependents=forced,
            bake_filter=() if covers_all else tuple(written),
            covers_all=covers_all,
            unnamed_stage=unnamed[0] if unnamed else None,
            added=forced - affected,
        )

    def _below(self, stage: Stage) -> tuple[Stage, ...]:
        seen = {stage.name: stage}
        queue = [stage]
        while queue:
            fresh = [self[name] for name in queue.pop().parents if name not in seen]
            seen.update((parent.name, parent) for parent in fresh)
            queue.extend(fresh)
        return tuple(s for s in self.stages if s.name in seen)


def parse_dockerfile(
    text: str,
    *,
    path: str = "Dockerfile",
    target: str | None = None,
    target_origin: str | None = None,
    args: Mapping[str, str] | None = None,
    platforms: tuple[str, ...] = (),
    contexts: Iterable[str] = (),
) -> StageGraph:
    """Reads a Dockerfile into its StageGraph.

    `target` is the final stage (default: the last), `args` the build arguments that FROM lines see, `platforms` what
    TARGETPLATFORM and its like come from, and `contexts` the names that bake's `contexts` put in the place of images.
    Raises InputError with `path:line:` for what BuildKit would refuse, and for stage names that differ only by case.
    """
    instructions = parse_instructions(text, path)
    drafts = _split(instructions, path)
    predefined = predefined_args(platforms, target or drafts[-1].target)
    seen = global_args(instructions, args or {}, predefined, path)
    reader = _Reader(path=path, drafts=drafts, variables=seen, contexts=frozenset(contexts))
    stages = tuple(reader.stage(draft) for draft in reader.drafts)
    graph = StageGraph(
        path=path,
        stages=stages,
        final=stages[-1],
        args=dict(args or {}),
        variables=seen,
        contexts=reader.contexts,
        syntax=syntax_image(text),
    )
    _refuse_circles(graph)
    graph = replace(graph, final=graph.find_target(target, target_origin)) if target is not None else graph
    reader.refuse_later_sources(graph)
    return graph


@dataclass(frozen=True)
class _Draft:
    """A stage before its references are known."""

    name: str
    index: int
    target: str | None
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
        _Draft(name.lower() if name else _free_name(index, taken), index, name, group)
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


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Finds out what each stage takes from where."""

    path: str
    drafts: tuple[_Draft, ...]
    variables: Mapping[str, str]
    contexts: frozenset[str]

    def stage(self, draft: _Draft) -> Stage:
        return Stage(
            name=draft.name,
            index=draft.index,
            line=draft.line,
            target=draft.target,
            instructions=draft.instructions,
            steps=tuple(self._steps(draft)),
        )

    def refuse_later_sources(self, graph: StageGraph) -> None:
        """BuildKit builds no stage that takes from one further down."""
        needed = {stage.name for stage in graph.needed_stages()}
        for stage in graph.stages:
            for step in stage.steps:
                for source in step.sources:
                    if stage.name in needed and isinstance(source, str) and graph[source].index > stage.index:
                        raise InputError(
                            f"{self.path}:{step.instruction.line}: `{stage.name}` takes from `{source}`, "
                            "which comes later",
                            f"move stage `{source}` above it",
                        )

    @cached_property
    def _named(self) -> dict[str, _Draft]:
        return {draft.name: draft for draft in self.drafts if draft.target is not None}

    def _steps(self, draft: _Draft) -> Iterator[StageStep]:
        start = draft.instructions[0]
        base = self._base(start)
        earlier = self._named.get(base)
        inherited: Iterator[Instruction] = iter(())
        if earlier is not None and earlier.index < draft.index:
            yield StageStep(instruction=start, sources=(earlier.name,))
            inherited = self._triggers(earlier)
        else:
            yield StageStep(
                instruction=start, sources=() if base == "scratch" else (ImageReference(name=base, line=start.line),)
            )
        for instruction in (*inherited, *draft.instructions[1:]):
            yield StageStep(instruction=instruction, sources=tuple(self._references(instruction)))

    def _triggers(self, draft: _Draft) -> Iterator[Instruction]:
        """What the stage's ONBUILD instructions run in a stage that starts from it."""
        for instruction in draft.instructions:
            if instruction.keyword == "ONBUILD":
                yield from onbuild_instructions(instruction, self.path)

    def _base(self, start: Instruction) -> str:
        word = start.args[0]
        name = expand_word(word, self.variables, start, self.path)
        if not name:
            raise InputError(
                f"{self.path}:{start.line}: `FROM {word}` is empty: no ARG before the first FROM gives it a value",
                f"give the ARG a default, or set it under `args` in the settings: {word}",
            )
        if name.lower() in self._named and name != name.lower() and name not in self.contexts:
            raise InputError(
                f"{self.path}:{start.line}: `FROM {name}` is no stage: FROM wants a stage's name in lower case",
                f"write `FROM {name.lower()}`",
            )
        return name

    def _references(self, instruction: Instruction) -> Iterator[str | ImageReference]:
        for reference in _written_references(instruction):
            self._refuse_variable(reference, instruction)
            if reference.lower() in self._named:
                yield reference.lower()
            elif instruction.keyword == "COPY" and re.fullmatch("[0-9]{1,9}", reference):
                yield self._numbered(reference, instruction)
            elif reference != "scratch":
                self._refuse_misspelt(reference, instruction)
                yield ImageReference(name=reference, line=instruction.line)

    def _refuse_variable(self, reference: str, instruction: Instruction) -> None:
        if "$" in reference:
            raise InputError(
                f"{self.path}:{instruction.line}: BuildKit expands no variable in `from={reference}`",
                "give the image a stage of its own (`FROM ${X} AS name`) and copy from that",
            )

    def _numbered(self, reference: str, instruction: Instruction) -> str:
        if int(reference) >= len(self.drafts):
            raise InputError(
                f"{self.path}:{instruction.line}: COPY --from={reference}: stages are 0 to {len(self.drafts) - 1}",
                "name the stage instead of counting: `FROM … AS name`, `COPY --from=name`",
            )
        return self.drafts[int(reference)].name

    def _refuse_misspelt(self, reference: str, instruction: Instruction) -> None:
        """A bare word that all but is a stage's name is a slip; any other may be an image, as BuildKit takes it."""
        if reference in self.contexts or re.search(r"[/:@.]", reference):
            return
        if find_similar_name(reference.lower(), self._named, cutoff=0.75):
            raise _unknown_stage(f"{self.path}:{instruction.line}", reference, tuple(self._named))


def _written_references(instruction: Instruction) -> Iterator[str]:
    """The `from` of COPY and of each RUN mount."""
    if instruction.keyword == "COPY" and (source := instruction.flag_value("from")):
        yield source
    if instruction.keyword == "RUN":
        yield from (mount["from"] for mount in instruction.mounts if mount.get("from"))


def _found(wanted: str, origin: str, stages: tuple[Stage, ...]) -> Stage:
    for stage in stages:
        if wanted.lower() == stage.name:
            return stage
    raise _unknown_stage(origin, wanted, tuple(stage.name for stage in stages))


def _unknown_stage(where: str, wanted: str, names: tuple[str, ...]) -> InputError:
    hint = did_you_mean(wanted.lower(), names)
    return InputError(f"{where}: no stage `{wanted}`", f"{hint}the stages are: {', '.join(names)}")


def _refuse_circles(graph: StageGraph) -> None:
    try:
        TopologicalSorter({stage.name: stage.parents for stage in graph.stages}).prepare()
    except CycleError as error:
        ring = error.args[1]
        raise InputError(
            f"{graph.path}:{graph[ring[0]].line}: stages depend on each other in a circle: {' → '.join(ring)}",
            "take one of these COPY --from or FROM references out",
        ) from None
