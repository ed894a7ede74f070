"""Parse a Dockerfile into a StageGraph: its stages, and what each one takes from other stages and from images.

The rules are those of BuildKit's frontend (moby/buildkit, frontend/dockerfile/dockerfile2llb/convert.go):
stage names are case-insensitive, FROM looks for earlier stages only, COPY --from and RUN --mount=from= look for all
stages, and COPY --from also takes the number of a stage. Where a name is used twice, the last stage that is looked for
has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from stagebake.dockerfile.frontend_rules import check_arguments, check_image_name, check_platform, check_words
from stagebake.dockerfile.parser import Instruction, onbuild_instructions, parse_instructions, syntax_image
from stagebake.dockerfile.stage_drafts import StageDraft, split_stages
from stagebake.dockerfile.variables import expand_word, global_args, predefined_args
from stagebake.errors import InputError
from stagebake.formatting import did_you_mean, find_similar_name

# Go's strconv.Atoi, up to 18 digits
_STAGE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
# Images of Docker Hub that are often copied from; each may be almost the name of a stage (`composer`, `composer-deps`)
_OFFICIAL_IMAGES = frozenset({
    "alpine", "bash", "buildpack-deps", "busybox", "caddy", "composer", "debian", "docker", "eclipse-temurin", "elixir",
    "erlang", "fedora", "golang", "gradle", "haproxy", "haskell", "httpd", "julia", "mariadb", "maven", "memcached",
    "mongo", "mysql", "nginx", "node", "openjdk", "perl", "php", "postgres", "python", "rabbitmq", "redis", "registry",
    "ruby", "rust", "swift", "tomcat", "traefik", "ubuntu", "vault", "wordpress",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageReference:
    """Image that a stage starts from or copies from."""

    name: str
    line: int


@dataclass(frozen=True, kw_only=True)
class StageStep:
    """Instruction in the stage where it takes effect, with the stages (by name) and images that it takes from."""

    instruction: Instruction
    sources: tuple[str | ImageReference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Stage of a Dockerfile and what it depends on.

    `written_name` is the name in its FROM line, None where it has none. `target` is the same name for `--target`; None
    where a later stage has it too. `steps` are the instructions of the stage, and after its FROM the ONBUILD triggers
    of the stage that it starts from.
    """

    name: str
    index: int
    line: int
    target: str | None
    written_name: str | None
    instructions: tuple[Instruction, ...]
    steps: tuple[StageStep, ...]

    @property
    def base(self) -> str | ImageReference | None:
        """Return what its FROM names: a stage (by name) or an image; None for scratch."""
        sources = self.steps[0].sources
        return sources[0] if sources else None

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """Return the names of the stages that it takes from, without repeats."""
        names: dict[str, None] = {}
        for step in self.steps:
            for source in step.sources:
                if isinstance(source, str):
                    names[source] = None
        return tuple(names)

    @property
    def images(self) -> tuple[ImageReference, ...]:
        """Return the images that it takes from, in the order of its steps."""
        found: list[ImageReference] = []
        for step in self.steps:
            found += [source for source in step.sources if isinstance(source, ImageReference)]
        return tuple(found)

    @property
    def has_name(self) -> bool:
        """Return whether `--target` finds the stage."""
        return self.target is not None

    @property
    def displayed_name(self) -> str:
        """Return the name in BuildKit's output, which other stages may have too."""
        return (self.written_name or f"stage-{self.index}").lower()


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
    """Stages of one Dockerfile in its order, and the stage that is built.

    `args` are the given build arguments. `variables` are what FROM lines see: the ARGs before the first FROM and the
    predefined ones. `contexts` are the names of the named contexts, which replace images or stages. `syntax` is the
    frontend image of the `# syntax=` line.
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

    @property
    def buildable_stages(self) -> tuple[Stage, ...]:
        """Return the stages that can be a build's target: BuildKit finds a target by name, or takes the last stage."""
        last = self.stages[-1]
        return tuple(stage for stage in self.stages if stage.has_name or stage is last)

    def needed_stages(self) -> tuple[Stage, ...]:
        """Return the final stage and the stages that it depends on, each after those that it depends on itself."""
        needed = self._with_ancestors(self.final)
        order = TopologicalSorter({stage.name: stage.parents for stage in needed})
        return tuple(self[name] for name in order.static_order())

    def base_stage(self, stage: Stage) -> Stage | None:
        """Return the stage that this one starts from; None where it starts from an image or from scratch."""
        return self[stage.base] if isinstance(stage.base, str) else None

    def inherited_instructions(self, stage: Stage) -> tuple[Instruction, ...]:
        """Return the instructions that a stage consists of: those of the stages below its FROM, then its own."""
        base = self.base_stage(stage)
        if base is None:
            return stage.instructions
        return (*self.inherited_instructions(base), *stage.instructions)

    def with_dependents(self, names: Iterable[str]) -> frozenset[str]:
        """Return these stages and the stages that depend on one of them, directly or not."""
        wanted = set(names)
        found = set()
        for stage in self.stages:
            ancestors = {ancestor.name for ancestor in self._with_ancestors(stage)}
            if wanted & ancestors:
                found.add(stage.name)
        return frozenset(found)

    def force_stages(self, names: Iterable[str]) -> ForcedStages:
        """Return what a build must rebuild when it forces the stages of these names."""
        named = self._add_namesakes(names)
        affected = self.with_dependents(named)
        while affected < self._add_namesakes(affected).keys():
            affected = self.with_dependents(self._add_namesakes(affected))
        unnamed = [stage for stage in self.stages if stage.name in affected and stage.written_name is None]
        forced = frozenset(self.names) if unnamed else affected
        covers_all = len(forced) == len(self.stages)
        written = [stage.written_name for stage in self.stages if stage.name in forced and stage.written_name]
        return ForcedStages(
            named=tuple(named),
            with_dependents=forced,
            bake_filter=() if covers_all else tuple(dict.fromkeys(written)),
            covers_all=covers_all,
            unnamed_stage=unnamed[0] if unnamed else None,
            added=forced - affected,
        )

    def find_stage(self, wanted: str, origin: str) -> Stage:
        """Return the stage of that name in any case. Raises InputError that begins with the origin of the name."""
        return _find_named_stage(wanted, origin, self.stages)

    def find_target(self, wanted: str, origin: str | None = None) -> Stage:
        """Return the stage of that name that can be a build's target. Raises InputError."""
        return _find_named_stage(wanted, origin or self.path, self.buildable_stages)

    def _add_namesakes(self, names: Iterable[str]) -> dict[str, None]:
        """Return these stages and those of the same written names, which BuildKit forces with them."""
        found = dict.fromkeys(names)
        written = {self[name].displayed_name for name in found if self[name].written_name}
        for stage in self.stages:
            if stage.written_name and stage.displayed_name in written:
                found[stage.name] = None
        return found

    def _with_ancestors(self, stage: Stage) -> tuple[Stage, ...]:
        seen = {stage.name}
        queue = [stage]
        while queue:
            for name in queue.pop().parents:
                if name not in seen:
                    seen.add(name)
                    queue.append(self[name])
        return tuple(stage for stage in self.stages if stage.name in seen)


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
    """Parse a Dockerfile into its StageGraph.

    `target` is the final stage (default: the last), `target_origin` where that name was given. `args` are the build
    arguments, `platforms` the source of TARGETPLATFORM and its relatives, `contexts` the names of named contexts.
    Raises InputError with `path:line:` for what BuildKit refuses.
    """
    instructions = parse_instructions(text, path)
    for instruction in instructions:
        check_arguments(instruction, path)
    drafts = split_stages(instructions, path)
    predefined = predefined_args(platforms, target or drafts[-1].target)
    variables = global_args(instructions, args or {}, predefined, path)
    resolver = _StageResolver(path=path, drafts=drafts, variables=variables, contexts=frozenset(contexts))
    stages = tuple(resolver.resolve_stage(draft) for draft in drafts)
    graph = StageGraph(
        path=path,
        stages=stages,
        final=stages[-1],
        args=dict(args or {}),
        variables=variables,
        contexts=resolver.contexts,
        syntax=syntax_image(text),
    )
    _refuse_cycles(graph)
    if target is not None:
        graph = replace(graph, final=graph.find_target(target, target_origin))
    _refuse_later_sources(graph)
    _refuse_invalid_words(graph, resolver.trigger_errors)
    return graph


@dataclass(frozen=True, kw_only=True)
class _StageResolver:
    """Resolver of the references in FROM, COPY --from and RUN --mount to stages and images.

    `trigger_errors` are the errors in the ONBUILD triggers that a stage runs, by the name of the stage: BuildKit reads
    the triggers only where it builds the stage.
    """

    path: str
    drafts: tuple[StageDraft, ...]
    variables: Mapping[str, str]
    contexts: frozenset[str]
    trigger_errors: dict[str, InputError] = field(default_factory=dict)

    def resolve_stage(self, draft: StageDraft) -> Stage:
        return Stage(
            name=draft.name,
            index=draft.index,
            line=draft.line,
            target=draft.target,
            written_name=draft.written_name,
            instructions=draft.instructions,
            steps=tuple(self._resolve_steps(draft)),
        )

    @cached_property
    def _drafts_by_name(self) -> dict[str, StageDraft]:
        return {draft.name: draft for draft in self.drafts if draft.target is not None}

    def _resolve_steps(self, draft: StageDraft) -> Iterator[StageStep]:
        start, *own = draft.instructions
        base = self._expand_base(start)
        base_draft = self._find_base_stage(base, draft.index)
        if base_draft is not None:
            yield StageStep(instruction=start, sources=(base_draft.name,))
            try:
                own = [*self._read_triggers(base_draft), *own]
            except InputError as error:
                self.trigger_errors[draft.name] = error
        elif base == "scratch":
            yield StageStep(instruction=start)
        else:
            check_image_name(base, start.args[0], self.variables, f"{self.path}:{start.line}")
            image = ImageReference(name=base, line=start.line)
            yield StageStep(instruction=start, sources=(image,))
        for instruction in own:
            sources = self._resolve_references(instruction)
            yield StageStep(instruction=instruction, sources=tuple(sources))

    def _find_base_stage(self, name: str, index: int) -> StageDraft | None:
        """Return the stage that FROM finds: the last one of that name above it."""
        for draft in reversed(self.drafts[:index]):
            if draft.written_name and draft.written_name.lower() == name:
                return draft
        return None

    def _read_triggers(self, draft: StageDraft) -> list[Instruction]:
        """Return what the ONBUILD instructions of a stage run in a stage that starts from it."""
        triggers: list[Instruction] = []
        for instruction in draft.instructions:
            if instruction.keyword == "ONBUILD":
                triggers += onbuild_instructions(instruction, self.path)
        for trigger in triggers:
            check_arguments(trigger, self.path)
        return triggers

    def _expand_base(self, start: Instruction) -> str:
        check_platform(start, self.variables, self.path)
        word = start.args[0]
        name = expand_word(word, self.variables, start, self.path)
        where = f"{self.path}:{start.line}"
        if not name:
            raise InputError(
                f"{where}: `FROM {word}` is empty: no ARG before the first FROM gives it a value",
                "give the ARG a default value, or set it under `args` in the settings",
            )
        lower = name.lower()
        if lower in self._drafts_by_name and name != lower and name not in self.contexts:
            raise InputError(
                f"{where}: `FROM {name}` does not find stage `{lower}`: FROM needs the stage name in lower case",
                f"write `FROM {lower}`",
            )
        return name

    def _resolve_references(self, instruction: Instruction) -> Iterator[str | ImageReference]:
        for reference in _written_references(instruction):
            where = f"{self.path}:{instruction.line}"
            if "$" in reference:
                raise InputError(
                    f"{where}: BuildKit does not expand variables in `from={reference}`",
                    "add a stage for the image (`FROM ${X} AS name`) and copy from that stage",
                )
            if reference.lower() in self._drafts_by_name:
                yield reference.lower()
            elif instruction.keyword == "COPY" and _STAGE_NUMBER.fullmatch(reference):
                yield self._resolve_number(reference, where)
            elif reference != "scratch":
                check_image_name(reference, reference, self.variables, where)
                self._refuse_misspelt(reference, where)
                yield ImageReference(name=reference, line=instruction.line)

    def _resolve_number(self, number: str, where: str) -> str:
        count = len(self.drafts)
        if not 0 <= int(number) < count:
            raise InputError(
                f"{where}: COPY --from={number}: unknown stage number; the stages are 0 to {count - 1}",
                "use the name of the stage: `FROM … AS name`, `COPY --from=name`",
            )
        return self.drafts[int(number)].name

    def _refuse_misspelt(self, reference: str, where: str) -> None:
        """Refuse a bare word that is almost the name of a stage; any other word may be an image."""
        if reference in self.contexts or reference in _OFFICIAL_IMAGES or re.search(r"[/:@.]", reference):
            return
        if find_similar_name(reference.lower(), self._drafts_by_name, cutoff=0.75):
            raise _unknown_stage(where, reference, self._drafts_by_name)


def _written_references(instruction: Instruction) -> list[str]:
    """Return the `from` of a COPY and of each RUN mount, as written."""
    if instruction.keyword == "COPY":
        written = [instruction.flag_value("from")]
    elif instruction.keyword == "RUN":
        written = [mount.get("from") for mount in instruction.mounts]
    else:
        written = []
    return [reference for reference in written if reference]


def _find_named_stage(wanted: str, origin: str, stages: tuple[Stage, ...]) -> Stage:
    for stage in stages:
        if wanted.lower() == stage.name:
            return stage
    raise _unknown_stage(origin, wanted, [stage.name for stage in stages])


def _unknown_stage(where: str, wanted: str, names: Iterable[str]) -> InputError:
    hint = did_you_mean(wanted.lower(), names)
    listed = ", ".join(names)
    return InputError(f"{where}: unknown stage `{wanted}`", f"{hint}the stages are: {listed}")


def _refuse_cycles(graph: StageGraph) -> None:
    order = TopologicalSorter({stage.name: stage.parents for stage in graph.stages})
    try:
        order.prepare()
    except CycleError as error:
        cycle = error.args[1]
        raise InputError(
            f"{graph.path}:{graph[cycle[0]].line}: stages form a dependency cycle: {' → '.join(cycle)}",
            "remove one of these COPY --from or FROM references",
        ) from None


def _refuse_invalid_words(graph: StageGraph, trigger_errors: Mapping[str, InputError]) -> None:
    """Refuse triggers and words that BuildKit cannot read; it looks only at the stages that it builds."""
    for stage in graph.needed_stages():
        if stage.name in trigger_errors:
            raise trigger_errors[stage.name]
        if stage.name not in graph.contexts:
            for step in stage.steps:
                check_words(step.instruction, graph.path)


def _refuse_later_sources(graph: StageGraph) -> None:
    """Refuse a needed stage that takes from a later one, as BuildKit does."""
    for stage in sorted(graph.needed_stages(), key=lambda stage: stage.index):
        for step in stage.steps:
            for source in step.sources:
                if isinstance(source, str) and graph[source].index > stage.index:
                    raise InputError(
                        f"{graph.path}:{step.instruction.line}: stage `{stage.name}` takes from stage `{source}`, "
                        "which comes later",
                        f"move stage `{source}` above stage `{stage.name}`",
                    )
