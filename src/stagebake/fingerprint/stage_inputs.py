"""Compute the fingerprint of each stage from its Dockerfile and its build context.

The rules are those of BuildKit's frontend (moby/buildkit, frontend/dockerfile/dockerfile2llb) and of its cache keys
(solver/llbsolver/ops/exec.go and file.go). First the inputs of all stages are listed, then the files among them are
hashed in one batch, then the fingerprints are put together. Only the context reads from disk.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TypeAlias

from stagebake.context.entries import BuildContext, ContextEntry
from stagebake.dockerfile.copy_sources import PathSelector
from stagebake.dockerfile.parser import Instruction, parse_instructions
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph, StageStep
from stagebake.dockerfile.variables import expand_word, hide_secret
from stagebake.errors import InputError
from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo, Part, PartKind
from stagebake.fingerprint.parts import file_part, instruction_part, stage_part, unknown_part
from stagebake.fingerprint.run_environment import RunEnvironment

# solver and frontend read these build arguments themselves, wherever they are declared; they change keys, or may
_FRONTEND_ARG = re.compile(r"^(?:SOURCE_DATE_EPOCH$|BUILDKIT_(?!INLINE_CACHE|MULTI_PLATFORM|DOCKERFILE_CHECK|SBOM_))")

_REMOTE_SOURCE = re.compile(r"^(?:https?|git|ssh)://|^[\w.-]+@[\w.-]+:")
_PINNED_COMMIT = re.compile(r"#(?:[0-9a-f]{40}|[0-9a-f]{64})(?::|$)")


def fingerprint_stages(graph: StageGraph, inputs: BuildInputs) -> dict[str, Fingerprint]:
    """Return the fingerprint of every stage, each after the stages that it takes from.

    They are those of one platform, the graph's: a build for several platforms has a graph for each.
    """
    context = inputs.context
    selector = PathSelector(context.paths, context.links) if context is not None else None
    readers: dict[str, _StageReader] = {}
    needed = graph.needed_stages()
    for name in _parents_first(graph):
        reader = _StageReader(
            stage=graph[name],
            graph=graph,
            given=inputs,
            selector=selector,
        )
        try:
            reader.read_stage(readers)
        except InputError as error:
            if reader.stage in needed:
                raise
            reader.add_error(error)  # BuildKit reads only the stages that it builds
        readers[name] = reader
    entries = _hash_files(context, readers.values())
    fingerprints: dict[str, Fingerprint] = {}
    for name, reader in readers.items():
        parts = _make_parts(reader.inputs, entries, fingerprints)
        fingerprints[name] = Fingerprint(name, parts)
    return fingerprints


@dataclass(frozen=True)
class _ContextFiles:
    """Files that an instruction takes from the build context; not hashed yet."""

    paths: Collection[str]
    line: int


@dataclass(frozen=True)
class _ParentStage:
    """Stage that an instruction takes from."""

    name: str
    line: int


_StageInput: TypeAlias = Part | _ContextFiles | _ParentStage


def _parents_first(graph: StageGraph) -> Iterable[str]:
    parents = {stage.name: stage.parents for stage in graph.stages}
    return TopologicalSorter(parents).static_order()


def _hash_files(
    context: BuildContext | None,
    readers: Iterable[_StageReader],
) -> Mapping[str, ContextEntry]:
    """Return the entries of all files that any stage takes: one batch, because a context hashes that faster."""
    if context is None:
        return {}
    paths: set[str] = set()
    for reader in readers:
        for item in reader.inputs:
            if isinstance(item, _ContextFiles):
                paths.update(item.paths)
    return context.read_entries(paths)


def _make_parts(
    inputs: Iterable[_StageInput],
    entries: Mapping[str, ContextEntry],
    fingerprints: Mapping[str, Fingerprint],
) -> tuple[Part, ...]:
    parts: list[Part] = []
    for item in inputs:
        match item:
            case Part():
                parts.append(item)
            case _ParentStage():
                parent = fingerprints[item.name]
                parts.append(stage_part(parent, item.line))
            case _ContextFiles():
                for path in item.paths:
                    part = file_part(path, entries[path], item.line)
                    parts.append(part)
    return tuple(parts)


@dataclass(kw_only=True)
class _StageReader:
    """Reader of one stage, step by step. `selector` is None where the build context is not on this machine."""

    stage: Stage
    graph: StageGraph
    given: BuildInputs
    selector: PathSelector | None
    inputs: list[_StageInput] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = RunEnvironment(graph=self.graph)

    def read_stage(self, readers: Mapping[str, _StageReader]) -> None:
        """List what the stage depends on; `readers` have read the stages that it takes from."""
        start, *steps = self.stage.steps
        if self.stage.name in self.graph.contexts:  # a named context replaces the whole stage
            self._start_from_image(self.stage.name, start.instruction)
            return
        self._start_stage(start, readers)
        for step in steps:
            self._read_step(step)

    def add_error(self, error: InputError) -> None:
        """List as unknown what an instruction that is not valid would add."""
        part = unknown_part("the rest of the stage", error.problem, self.stage.line)
        self.inputs.append(part)

    def _start_stage(self, start: StageStep, readers: Mapping[str, _StageReader]) -> None:
        match start.sources:
            case (str(name),):
                parent = _ParentStage(name, start.instruction.line)
                self.inputs.append(parent)
                self.environment.start_from_stage(readers[name].environment)
            case (ImageReference(name=name),):
                self._read_build_options(start.instruction)
                self._start_from_image(name, start.instruction)
            case _:
                self._read_build_options(start.instruction)
                self.environment.start_empty()

    def _read_build_options(self, start: Instruction) -> None:
        """List what counts for a stage that starts from no other stage: platform, frontend, network."""
        platform = self._read_platform(start)
        self._add_part("platform", "platform", platform, start.line)
        if self.graph.syntax:
            self._read_frontend(self.graph.syntax, start)
        for name, value in sorted(self.graph.args.items()):
            if _FRONTEND_ARG.match(name):
                self._add_part("arg", name, hide_secret(name, value))
            if name == "BUILDKIT_SYNTAX":
                self._read_frontend(value, start)
        for name, value in sorted(self.given.settings.items()):
            self.environment.add_pending("setting", name, value)

    def _read_platform(self, start: Instruction) -> str:
        graph = self.graph
        written = start.flag_value("platform")
        if written:
            return expand_word(written, graph.variables, start, graph.path)
        return graph.variables["TARGETPLATFORM"]

    def _read_frontend(self, name: str, start: Instruction) -> None:
        """List the image that reads the Dockerfile: another one may make other steps of it."""
        image = self.given.images.get(name) or _pinned_image(name)
        if image is None:
            self._add_unknown(f"# syntax={name}", "its digest is not known", start)
            return
        value = f"{name} {image.digest}"
        self._add_part("setting", "syntax", value, line=1)

    def _start_from_image(self, name: str, start: Instruction) -> None:
        image = self._read_image(name, start, is_base=True)
        if image is None:
            self.environment.start_from_image(None)
            return
        self.environment.start_from_image(image.env)
        if image.triggers is None:
            self._add_unknown(f"ONBUILD of {name}", "its configuration was not read", start)
            return
        for trigger in image.triggers:
            instructions = parse_instructions(trigger, self.graph.path)
            for instruction in instructions:
                self._read_trigger(instruction, start)

    def _read_trigger(self, instruction: Instruction, start: Instruction) -> None:
        mounts_source = any("from" in mount for mount in instruction.mounts)
        if instruction.flag_value("from") or mounts_source:
            name = f"ONBUILD {instruction.text}"
            self._add_unknown(name, "it takes from another stage or image", start)
            return
        step = StageStep(instruction=instruction)
        self._read_step(step)

    def _read_image(self, name: str, instruction: Instruction, *, is_base: bool = False) -> ImageInfo | None:
        image = self.given.images.get(name)
        if image is None and name not in self.graph.contexts:
            image = _pinned_image(name)
        if image is None:
            self._add_unknown(name, "its digest is not known", instruction)
        else:
            part = Part(
                kind="image",
                name=name,
                value=image.digest,
                line=instruction.line,
                base=is_base,
            )
            self.inputs.append(part)
        return image

    def _read_step(self, step: StageStep) -> None:
        instruction = step.instruction
        environment = self.environment
        match instruction.keyword:
            case "ARG":
                environment.declare_args(instruction)
            case "ENV":
                environment.assign_variables(instruction)
            case "SHELL" | "USER":
                part = self._expand_part(instruction)
                environment.pending.append(part)
            case "WORKDIR":
                self.inputs += environment.take_pending("USER ")
                part = self._expand_part(instruction)
                self.inputs.append(part)
            case "COPY" | "ADD":
                self._read_copy(step)
            case "RUN":
                self.inputs += environment.take_pending()
                self._read_run(step)

    def _expand_part(self, instruction: Instruction) -> Part:
        words = self.environment.expand_words(instruction.args, instruction)
        return instruction_part(instruction, words)

    def _read_run(self, step: StageStep) -> None:
        instruction = step.instruction
        value = [
            [_remove_source(flag) for flag in instruction.flags],
            instruction.args,
            instruction.heredocs,
        ]
        part = instruction_part(instruction, value)
        self.inputs.append(part)
        self._read_sources(step)
        for mount in instruction.mounts:
            mount_type = mount.get("type", "bind")
            if mount_type == "bind" and not mount.get("from"):
                source = mount.get("source", mount.get("src", "/"))
                self._read_files([source], instruction)

    def _read_copy(self, step: StageStep) -> None:
        instruction = step.instruction
        environment = self.environment
        flags = [flag for flag in instruction.flags if not flag.startswith("--from=")]
        value = [
            environment.expand_words(flags, instruction),
            environment.expand_words(instruction.args, instruction),
            environment.expand_heredocs(instruction),
        ]
        part = instruction_part(instruction, value)
        self.inputs.append(part)
        self._read_sources(step)
        local = self._read_downloads(instruction)
        if local and not instruction.flag_value("from"):
            self._read_files(local, instruction)

    def _read_downloads(self, instruction: Instruction) -> list[str]:
        """List the sources that ADD downloads; return the others, without heredocs."""
        local: list[str] = []
        for word in instruction.args[:-1]:
            is_heredoc = instruction.heredocs and "<<" in word
            if not is_heredoc and not self._read_download(word, instruction):
                local.append(word)
        return local

    def _read_download(self, word: str, instruction: Instruction) -> bool:
        """Return True for a source that ADD downloads, which is unknown unless a checksum or a commit pins it."""
        environment = self.environment
        source = environment.expand_word(word, instruction)
        if instruction.keyword != "ADD" or not _REMOTE_SOURCE.search(source):
            return False
        written = instruction.flag_value("checksum") or ""
        checksum = environment.expand_word(written, instruction)
        has_checksum = checksum and "$" not in checksum
        if not has_checksum and not _PINNED_COMMIT.search(source):
            self._add_unknown(source, "it is downloaded, without a checksum", instruction)
        return True

    def _read_sources(self, step: StageStep) -> None:
        """List the stages and images that a step takes from."""
        for source in step.sources:
            if isinstance(source, str):
                parent = _ParentStage(source, step.instruction.line)
                self.inputs.append(parent)
            else:
                self._read_image(source.name, step.instruction)

    def _read_files(self, sources: Iterable[str], instruction: Instruction) -> None:
        """List the files of the build context that these sources name."""
        context = self.given.context
        selector = self.selector
        if context is None or selector is None:
            self._add_unknown("the build context", "it is not on this machine", instruction)
            return
        ignore_file = Part("ignore", context.rules_name, context.rules)
        if ignore_file not in self.inputs:
            self.inputs.append(ignore_file)
        paths: set[str] = set()
        for word in sources:
            paths.update(self._choose_paths(selector, word, instruction))
        files = _ContextFiles(sorted(paths), instruction.line)
        self.inputs.append(files)

    def _choose_paths(self, selector: PathSelector, word: str, instruction: Instruction) -> Collection[str]:
        """Return the paths that a source names; all paths if its value is unknown."""
        environment = self.environment
        path = environment.expand_word(word, instruction)
        if environment.has_unknown_value(word, path):
            return selector.all_paths
        try:
            return selector.choose_paths(
                path,
                parents=instruction.has_switch("parents"),
                excludes=self._read_excludes(instruction),
            )
        except ValueError:
            return selector.all_paths

    def _read_excludes(self, instruction: Instruction) -> list[str]:
        """Return the patterns of COPY --exclude; none if the value of one is unknown."""
        environment = self.environment
        excludes: list[str] = []
        for word in instruction.flag_values("exclude"):
            expanded = environment.expand_word(word, instruction)
            if environment.has_unknown_value(word, expanded):
                return []
            excludes.append(expanded)
        return excludes

    def _add_part(self, kind: PartKind, name: str, value: str, line: int = 0) -> None:
        part = Part(kind, name, value, line)
        self.inputs.append(part)

    def _add_unknown(self, name: str, reason: str, instruction: Instruction) -> None:
        part = unknown_part(name, reason, instruction.line)
        self.inputs.append(part)


def _pinned_image(name: str) -> ImageInfo | None:
    """Return what the name of an image pinned by digest tells of it; None for another name."""
    _, at, digest = name.rpartition("@")
    return ImageInfo(digest=digest) if at and digest else None


def _remove_source(flag: str) -> str:
    """Remove the source stage or image from a --mount: it is a part by itself."""
    name, equals, value = flag.partition("=")
    if name != "--mount":
        return flag
    fields = [part for part in value.split(",") if not part.lower().startswith("from=")]
    kept = ",".join(fields)
    return f"{name}{equals}{kept}"
