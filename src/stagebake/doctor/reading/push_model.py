"""Find which steps of a Dockerfile the last pushes ran, and which ones a push of code runs.

A step runs when a file that it takes has changed, when a step above it ran, or when the stage that it starts or copies
from ran (moby/buildkit, docs: "build cache invalidation"). A COPY of installed packages from another stage is content
that only a manifest changes.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph, StageStep
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Frequency
from stagebake.doctor.reading.context_copies import ContextCopy

# With fewer pushes than these, the names of the copied files decide what a push of code runs
_MIN_PUSHES = 5
# A step belongs to a push of code if this share of the pushes ran it
_CODE_SHARE = 0.2

_INSTALLED = re.compile(r"(?:^|/)(?:node_modules|site-packages|dist-packages|\.?venv|bundle|vendor/bundle)(?:/|$)")
_MANIFESTS = re.compile(
    r"(?:^|/)(?:package(?:-lock)?\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-(?:lock|workspace)\.yaml|bun\.lockb?"
    r"|\.npmrc|\.yarnrc(?:\.yml)?|requirements[\w.-]*\.(?:txt|in)|pyproject\.toml|poetry\.lock|uv\.lock|Pipfile"
    r"(?:\.lock)?|go\.(?:mod|sum|work)|Cargo\.(?:toml|lock)|Gemfile(?:\.lock)?|composer\.(?:json|lock)|mix\.(?:exs|lock)"
    r"|pom\.xml|(?:build|settings)\.gradle(?:\.kts)?|gradle\.(?:properties|lockfile)|[^/]*\.(?:csproj|fsproj|sln|props)"
    r"|environment\.ya?ml)$"
)
# What `turbo prune --docker` and `cargo chef prepare` extract from the manifests
_EXTRACTED = re.compile(r"(?:^|/)(?:out/json|recipe\.json)$")
_CONDITIONAL = re.compile(r"\$\{\w+:[-+]")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# Folders of the system, which code does not change
_SYSTEM = re.compile(r"^/(?:etc|usr/(?:share|lib|include)|lib|lib64)(?:/|$)")
# Single files that seldom change: configuration and scripts for the image
_SETTLED = re.compile(
    r"\.config\.\w+$|\.(?:conf|cfg|cnf|ini|toml|ya?ml|json|sh|bash|crt|pem|key|service|list|repo|xml|lock|mod|sum)$"
)
_EVERYTHING = frozenset({"package.json"})
_WRITES_LAYER = ("RUN", "COPY", "ADD", "WORKDIR")


StepKey = tuple[str, int]
"""Name of a stage and number of one of its steps."""


@dataclass(frozen=True)
class StepPlace:
    """Step of a stage by its number, an index of `Stage.steps`."""

    stage: Stage
    number: int

    @property
    def step(self) -> StageStep:
        return self.stage.steps[self.number]

    @property
    def key(self) -> StepKey:
        return self.stage.name, self.number


@dataclass(frozen=True, kw_only=True)
class PushModel:
    """Steps by (stage name, number) with the pushes, by number, that ran them; and those that a push of code runs.

    `context_steps` are all that some file of the build context can make run.
    """

    graph: StageGraph
    pushes: int
    runs: Mapping[tuple[str, int], frozenset[int]]
    code_steps: frozenset[StepKey]
    context_steps: frozenset[StepKey] = frozenset()

    def is_code_step(self, place: StepPlace) -> bool:
        """Return whether a push of code runs the step."""
        return place.key in self.code_steps

    def frequency(self, keys: Collection[StepKey]) -> Frequency | None:
        """Return how many pushes ran one of these steps; None without enough history."""
        if self.pushes < _MIN_PUSHES:
            return None
        ran: set[int] = set()
        for key in keys:
            ran |= self.runs.get(key, frozenset())
        return Frequency(runs=len(ran), pushes=self.pushes)

    def running_steps(self) -> dict[str, frozenset[int]]:
        """Return the numbers of the steps that a push of code runs, by stage."""
        running: dict[str, set[int]] = {}
        for stage, number in self.code_steps:
            running.setdefault(stage, set()).add(number)
        return {stage: frozenset(numbers) for stage, numbers in running.items()}

    @cached_property
    def places(self) -> tuple[StepPlace, ...]:
        """Return the steps of all needed stages."""
        return tuple(
            StepPlace(stage, number) for stage in self.graph.needed_stages() for number in range(len(stage.steps))
        )


def list_chain(graph: StageGraph, stage: Stage) -> tuple[StepPlace, ...]:
    """Return the steps that a stage consists of: those of the stages below its FROM, then its own."""
    base = graph.base_stage(stage)
    own = tuple(StepPlace(stage, number) for number in range(len(stage.steps)))
    return own if base is None else (*list_chain(graph, base), *own)


def _find_code_steps(pushes: list[set[StepKey]]) -> set[StepKey]:
    """Return the steps that at least a share of these pushes ran."""
    counts = Counter(chain.from_iterable(pushes))
    return {key for key, count in counts.items() if count >= _CODE_SHARE * len(pushes)}


def expand_known(word: str, graph: StageGraph, stage: Stage) -> str:
    """Return a word with the variables expanded whose value an ENV or ARG of the stage says; others stay."""
    return expand_values(word, known_values(graph, stage))


def expand_values(word: str, values: Mapping[str, str]) -> str:
    """Return a word without quotes and with these variables expanded; others stay."""
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2]) or found[0], word.strip("\"'"))


def known_values(graph: StageGraph, stage: Stage) -> dict[str, str]:
    """Return the variables of a stage whose value an ENV or ARG says."""
    values = dict(graph.variables)
    for instruction in graph.inherited_instructions(stage):
        pairs: list[tuple[str, str | None]] = []
        if instruction.keyword == "ENV":
            pairs = list(instruction.assignments)
        elif instruction.keyword == "ARG":
            pairs = [(name, graph.args.get(name, default)) for name, default in instruction.declarations]
        for name, value in pairs:
            if value is not None and "$" not in value:
                values[name] = value.strip("\"'")
    return values


def make_push_model(graph: StageGraph, facts: RepositoryFacts, context_copies: Iterable[ContextCopy]) -> PushModel:
    """Return which steps the last commits ran; without enough of them, judge by the names of the copied files."""
    copies = {id(copy.instruction): copy for copy in context_copies}
    ran_by_push = [_run_steps(graph, copies, changed) for changed in facts.commits]
    pushes = [ran for ran in ran_by_push if ran]
    runs: dict[tuple[str, int], set[int]] = {}
    for number, ran in enumerate(pushes):
        for key in ran:
            runs.setdefault(key, set()).add(number)
    if len(pushes) >= _MIN_PUSHES:
        code_steps = _find_code_steps(
            [
                ran
                for ran, changed in zip(ran_by_push, facts.commits, strict=True)
                if ran and not any(is_manifest(path) for path in changed)
            ]
            or pushes
        )
    else:
        code_steps = _run_steps(graph, copies, None)
    return PushModel(
        graph=graph,
        pushes=len(pushes),
        runs={key: frozenset(found) for key, found in runs.items()},
        code_steps=frozenset(code_steps),
        context_steps=frozenset(_run_steps(graph, copies, _EVERYTHING)),
    )


def is_code_copy(copy: ContextCopy) -> bool:
    """Return whether a COPY takes code, by the names of its files: not only manifests, configuration and scripts."""
    if copy.copies_everything:
        return True
    return _is_code(copy.files or copy.sources)


def _is_code(names: Iterable[str]) -> bool:
    return any(not _SETTLED.search(name) and not _MANIFESTS.search(name) for name in names)


def is_manifest(path: str) -> bool:
    """Return whether a file says what a package manager installs."""
    return _MANIFESTS.search(path) is not None


def takes_settled_files(step: StageStep, graph: StageGraph, stage: Stage) -> bool:
    """Return whether a COPY takes from a stage only what code does not change: packages, manifests, system files."""
    if step.instruction.keyword != "COPY":
        return False
    for written in step.instruction.args[:-1]:
        path = posixpath.normpath(expand_known(written, graph, stage))
        if _CONDITIONAL.search(path):  # a path that an argument switches on
            continue
        patterns = (_INSTALLED, _MANIFESTS, _EXTRACTED, _SYSTEM, _SETTLED)
        if not any(pattern.search(path) for pattern in patterns):
            return False
    return True


def map_to_context(step: StageStep, graph: StageGraph, copies: Iterable[ContextCopy]) -> frozenset[str] | None:
    """Return the files of the context that a COPY takes through another stage; None where it takes something else.

    A stage that has copied the whole context to /app has its file `public/x` in /app/public/x.
    """
    source = next((source for source in step.sources if isinstance(source, str)), None)
    if source is None or step.instruction.keyword != "COPY":
        return None
    below = {id(place.step.instruction): place for place in list_chain(graph, graph[source])}
    whole = [copy for copy in copies if copy.copies_everything and id(copy.instruction) in below]
    if not whole:
        return None
    root = _find_target(whole[0].instruction, [place.step.instruction for place in below.values()])
    files: set[str] = set()
    for written in step.instruction.args[:-1]:
        inside = posixpath.relpath(posixpath.normpath(written), root)
        inside = re.sub(r"^out/full/", "", inside)
        found = {path for path in whole[0].files if path == inside or path.startswith(f"{inside}/")}
        if inside in (".", "out/full") or not found:
            return None
        files |= found
    return frozenset(files)


def _find_target(copy: Instruction, instructions: Iterable[Instruction]) -> str:
    """Return the absolute path that a COPY writes to, by the WORKDIRs before it."""
    folder = "/"
    for instruction in instructions:
        if instruction.keyword == "WORKDIR":
            folder = posixpath.join(folder, instruction.args[0])
        if instruction is copy:
            break
    return posixpath.normpath(posixpath.join(folder, copy.args[-1]))


def _run_steps(
    graph: StageGraph,
    copies: Mapping[int, ContextCopy],
    changed: frozenset[str] | None,
) -> set[StepKey]:
    """Return the steps that run when these files change; None stands for a push of code."""
    with_manifest = changed is not None and any(_MANIFESTS.search(path) for path in changed)
    all_copies = tuple(copies.values())
    ran: set[StepKey] = set()
    ran_stages: set[str] = set()
    for stage in graph.needed_stages():
        dirty = stage.base in ran_stages
        for number, step in enumerate(stage.steps):
            dirty = dirty or _takes_changed(copies.get(id(step.instruction)), changed)
            if number and not dirty and any(source in ran_stages for source in step.sources):
                dirty = _copies_changed(step, graph, stage, all_copies, changed, with_manifest)
            if dirty and step.instruction.keyword in _WRITES_LAYER:
                ran.add((stage.name, number))
        if dirty:
            ran_stages.add(stage.name)
    return ran


def _copies_changed(
    step: StageStep,
    graph: StageGraph,
    stage: Stage,
    copies: tuple[ContextCopy, ...],
    changed: frozenset[str] | None,
    with_manifest: bool,
) -> bool:
    """Return whether a COPY takes other files from a stage that ran: BuildKit compares their content."""
    if with_manifest or changed is _EVERYTHING:
        return True
    if takes_settled_files(step, graph, stage):
        return False
    mapped = map_to_context(step, graph, copies)
    if mapped is None:
        return True
    return _is_code(mapped) if changed is None else not mapped.isdisjoint(changed)


def _takes_changed(copy: ContextCopy | None, changed: frozenset[str] | None) -> bool:
    if copy is None:
        return False
    if changed is _EVERYTHING:
        return True
    return is_code_copy(copy) if changed is None else not copy.files.isdisjoint(changed)
