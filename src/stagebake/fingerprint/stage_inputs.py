"""StageGraph + build context → the Fingerprint of each stage. Pure: the context does the reading.

The rules are those of BuildKit's frontend (moby/buildkit, frontend/dockerfile/dockerfile2llb) and of its cache keys
(solver/llbsolver/ops/exec.go and file.go).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from stagebake.dockerfile.copy_sources import PathSelector
from stagebake.dockerfile.parser import Instruction, parse_instructions
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph, StageStep
from stagebake.dockerfile.variables import (
    declared_args,
    expand_heredoc,
    expand_word,
    hide_secret,
    is_hidden,
    redact_credentials,
)
from stagebake.fingerprint.model import BuildContext, BuildInputs, ContextEntry, Fingerprint, ImageInfo, Part, PartKind

_SHORT = 72
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where an image sets none

# solver and frontend read these build arguments themselves, wherever they are declared; they change keys, or may
_FRONTEND = re.compile(r"^(?:SOURCE_DATE_EPOCH$|BUILDKIT_(?!INLINE_CACHE|MULTI_PLATFORM|DOCKERFILE_CHECK|SBOM_))")

_REMOTE = re.compile(r"^(?:https?|git|ssh)://|^[\w.-]+@[\w.-]+:")
_COMMIT = re.compile(r"#(?:[0-9a-f]{40}|[0-9a-f]{64})(?::|$)")


def fingerprint_stages(graph: StageGraph, inputs: BuildInputs) -> dict[str, Fingerprint]:
    """The fingerprint of every stage, each after those it takes from.

    Of one platform, that of the StageGraph: a build for several has a graph and fingerprints for each.
    """
    source = _Source(inputs.context) if inputs.context is not None else None
    drafts: dict[str, _Draft] = {}
    for name in TopologicalSorter({stage.name: stage.parents for stage in graph.stages}).static_order():
        drafts[name] = _Draft(stage=graph[name], graph=graph, inputs=inputs, source=source)
        drafts[name].read(drafts)
    if source is not None:
        source.read(drafts.values())
    prints: dict[str, Fingerprint] = {}
    for name, draft in drafts.items():
        prints[name] = Fingerprint(name, tuple(draft.parts(prints)))
    return prints


@dataclass
class _Source:
    """The build context, what is chosen from it, and what is there."""

    context: BuildContext
    entries: Mapping[str, ContextEntry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.selector = PathSelector(self.context.paths, self.context.links)

    def read(self, drafts: Iterable[_Draft]) -> None:
        """Asks the context once for all that any stage takes from it."""
        items = (item for draft in drafts for item in draft.items if isinstance(item, _Files))
        self.entries = self.context.entries(set().union(*(item.paths for item in items)))


@dataclass(frozen=True)
class _Files:
    """Files that a step takes from the context, not hashed yet."""

    source: _Source
    paths: Sequence[str]
    line: int


@dataclass(frozen=True)
class _Parent:
    """A stage that a step takes from."""

    name: str
    line: int


@dataclass(kw_only=True)
class _Draft:
    """One stage while it is read. `pending` are parts that count only once a RUN follows.

    `values` is what words see, `env` the part of it that a stage which starts from this one sets again. It is
    `complete` unless it misses the variables of an image.
    """

    stage: Stage
    graph: StageGraph
    inputs: BuildInputs
    source: _Source | None
    items: list[Part | _Files | _Parent] = field(default_factory=list)
    pending: list[Part] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    def read(self, drafts: Mapping[str, _Draft]) -> None:
        start, *steps = self.stage.steps
        if self.stage.name in self.graph.contexts:
            self._start_outside(self.stage.name, start.instruction)
            return
        match start.sources:
            case (str(parent),):
                self._start_inside(drafts[parent], start)
            case (ImageReference(name=name),):
                self._platform(start.instruction)
                self._start_outside(name, start.instruction)
            case _:
                self._platform(start.instruction)
                self.values["PATH"] = _PATH
        for step in steps:
            self._step(step)

    def parts(self, prints: Mapping[str, Fingerprint]) -> Iterator[Part]:
        """The parts, now that files are hashed and the stages taken from have their fingerprints."""
        for item in self.items:
            match item:
                case Part():
                    yield item
                case _Parent():
                    yield _stage_part(prints[item.name], item.line)
                case _Files():
                    for path in item.paths:
                        yield _file_part(path, item.source.entries[path], item.line)

    def _start_inside(self, parent: _Draft, start: StageStep) -> None:
        self.items.append(_Parent(parent.stage.name, start.instruction.line))
        self.values = {**parent.values, **parent.env}
        self.env = dict(parent.env)
        self.pending = list(parent.pending)
        self.complete = parent.complete

    def _platform(self, start: Instruction) -> None:
        """What a chain of stages starts with, whatever it starts from."""
        written = start.flag_value("platform")
        value = self._outer(written, start) if written else self.graph.variables["TARGETPLATFORM"]
        self.items.append(Part("platform", "platform", value, start.line))
        if self.graph.syntax:
            self._frontend(self.graph.syntax, start)
        for name, value in sorted(self.graph.args.items()):
            if _FRONTEND.match(name):
                self.items.append(Part("arg", name, hide_secret(name, value)))
            if name == "BUILDKIT_SYNTAX":
                self._frontend(value, start)
        self.pending += [Part("setting", name, value) for name, value in sorted(self.inputs.settings.items())]

    def _frontend(self, name: str, start: Instruction) -> None:
        """The image that reads the Dockerfile: another one may make other steps of it."""
        image = self.inputs.images.get(name)
        digest = image.digest if image else name.rpartition("@")[2] if "@" in name else ""
        if digest:
            self.items.append(Part("setting", "syntax", f"{name} {digest}", 1))
        else:
            self._unknown(f"# syntax={name}", "its digest is not known", start)

    def _start_outside(self, name: str, start: Instruction) -> None:
        image = self._image(name, start, base=True)
        if image is None:
            self.complete = False
            return
        self.complete = image.env is not None
        self.env = {key: hide_secret(key, value) for key, value in (image.env or {}).items()}
        self.values = {"PATH": _PATH, **self.env} if self.complete else {}
        if image.triggers is None:
            self._unknown(f"ONBUILD of {name}", "its configuration was not read", start)
            return
        for trigger in image.triggers:
            for instruction in parse_instructions(trigger, self.graph.path):
                self._trigger(instruction, start)

    def _trigger(self, instruction: Instruction, start: Instruction) -> None:
        if instruction.flag_value("from") or any("from" in mount for mount in instruction.mounts):
            self._unknown(f"ONBUILD {instruction.text}", "it takes from another stage or image", start)
        else:
            self._step(StageStep(instruction=instruction))

    def _image(self, name: str, instruction: Instruction, *, base: bool = False) -> ImageInfo | None:
        image = self.inputs.images.get(name)
        if image is None and "@" in name and name not in self.graph.contexts:
            image = ImageInfo(digest=name.rpartition("@")[2])
        if image is None:
            self._unknown(name, "its digest is not known", instruction)
        else:
            self.items.append(Part("image", name, image.digest, instruction.line, base=base))
        return image

    def _step(self, step: StageStep) -> None:
        instruction = step.instruction
        match instruction.keyword:
            case "ARG":
                self._declare(instruction)
            case "ENV":
                self._assign(instruction)
            case "SHELL" | "USER":
                self.pending.append(
                    _instruction_part(instruction, [self._word(w, instruction) for w in instruction.args])
                )
            case "WORKDIR":
                self._flush("USER ")
                self.items.append(
                    _instruction_part(instruction, [self._word(w, instruction) for w in instruction.args])
                )
            case "COPY" | "ADD":
                self._copy(step)
            case "RUN":
                self._flush("")
                self._run(step)

    def _declare(self, instruction: Instruction) -> None:
        outer, given = self.graph.variables, self.graph.args
        for name, value in declared_args(instruction, self.values, outer, given, self.graph.path):
            if value is not None:
                self.values[name] = hide_secret(name, value)
                self.pending.append(Part("arg", name, self.values[name], instruction.line))

    def _assign(self, instruction: Instruction) -> None:
        names, words = instruction.args[::3], instruction.args[1::3]
        values = [self._word(word, instruction) for word in words]  # all see what was before the first
        for name, value in zip(names, values, strict=True):
            self.values[name] = self.env[name] = hide_secret(name, value)
            self.pending.append(Part("env", name, self.values[name], instruction.line))

    def _flush(self, prefix: str) -> None:
        """The pending parts count from here on: those whose name starts like this."""
        self.items += [part for part in self.pending if part.name.startswith(prefix)]
        self.pending = [part for part in self.pending if not part.name.startswith(prefix)]

    def _run(self, step: StageStep) -> None:
        instruction = step.instruction
        flags = [_without_from(flag) for flag in instruction.flags]
        self.items.append(_instruction_part(instruction, [flags, instruction.args, instruction.heredocs]))
        self._sources(step)
        for mount in instruction.mounts:
            if mount.get("type", "bind") == "bind" and not mount.get("from"):
                self._files((mount.get("source", mount.get("src", "/")),), instruction)

    def _copy(self, step: StageStep) -> None:
        instruction = step.instruction
        words = [self._word(word, instruction) for word in instruction.args]
        flags = [self._word(flag, instruction) for flag in instruction.flags if not flag.startswith("--from=")]
        self.items.append(_instruction_part(instruction, [flags, words, self._heredocs(instruction)]))
        self._sources(step)
        sources = [word for word in instruction.args[:-1] if not (instruction.heredocs and "<<" in word)]
        local = [word for word in sources if not self._remote(word, instruction)]
        if local and not instruction.flag_value("from"):
            self._files(local, instruction)

    def _remote(self, word: str, instruction: Instruction) -> bool:
        """Whether ADD downloads it; what may be another thing tomorrow is unknown."""
        source = self._word(word, instruction)
        if instruction.keyword != "ADD" or not _REMOTE.search(source):
            return False
        checksum = self._word(instruction.flag_value("checksum") or "", instruction)
        if (not checksum or "$" in checksum) and not _COMMIT.search(source):
            self._unknown(source, "it is downloaded, without a checksum", instruction)
        return True

    def _sources(self, step: StageStep) -> None:
        for source in step.sources:
            if isinstance(source, str):
                self.items.append(_Parent(source, step.instruction.line))
            else:
                self._image(source.name, step.instruction)

    def _files(self, sources: Iterable[str], instruction: Instruction) -> None:
        source = self.source
        if source is None:
            self._unknown("the build context", "it is not on this machine", instruction)
            return
        if not any(isinstance(item, Part) and item.kind == "ignore" for item in self.items):
            self.items.append(Part("ignore", source.context.rules_name, source.context.rules))
        chosen = [self._chosen(source.selector, word, instruction) for word in sources]
        paths = chosen[0] if len(chosen) == 1 else {path for paths in chosen for path in paths}
        self.items.append(_Files(source, sorted(paths), instruction.line))

    def _chosen(self, selector: PathSelector, word: str, instruction: Instruction) -> Collection[str]:
        """What a source stands for; all there is where that cannot be told."""
        excludes = [self._word(flag, instruction) for flag in instruction.flag_values("exclude")]
        path = self._word(word, instruction)
        if self._veiled(word, path):
            return selector.all
        if any(self._veiled(a, b) for a, b in zip(instruction.flag_values("exclude"), excludes, strict=True)):
            excludes = []
        try:
            return selector.choose_paths(path, parents=instruction.has_switch("parents"), excludes=excludes)
        except ValueError:
            return selector.all

    def _veiled(self, written: str, expanded: str) -> bool:
        """Whether a word has a variable that only the image knows, or one that stands as a digest here."""
        if "$" not in written:
            return False
        return "$" in expanded or any(value in expanded for value in self.values.values() if is_hidden(value))

    def _heredocs(self, instruction: Instruction) -> list[str]:
        pairs = zip(instruction.heredocs, instruction.expands, strict=True)
        return [self._text(text, instruction) if expands else text for text, expands in pairs]

    def _word(self, word: str, instruction: Instruction) -> str:
        return expand_word(word, self.values, instruction, self.graph.path, keep_unset=not self.complete)

    def _text(self, text: str, instruction: Instruction) -> str:
        return expand_heredoc(text, self.values, instruction, self.graph.path, keep_unset=not self.complete)

    def _outer(self, word: str, instruction: Instruction) -> str:
        return expand_word(word, self.graph.variables, instruction, self.graph.path)

    def _unknown(self, name: str, why: str, instruction: Instruction) -> None:
        self.items.append(Part("unknown", redact_credentials(name), why, instruction.line))


def _instruction_part(instruction: Instruction, value: object) -> Part:
    whole = repr((instruction.keyword, instruction.json, value)).encode("utf-8", "surrogateescape")
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    return Part("instruction", _short(instruction), digest, instruction.line)


def _short(instruction: Instruction) -> str:
    """What people call an instruction: its text, without the flags of a RUN."""
    _, *words = instruction.text.split()
    flags = len(instruction.flags) if instruction.keyword == "RUN" else 0
    name = redact_credentials(" ".join([instruction.keyword, *words[flags:]]))
    return name if len(name) <= _SHORT else f"{name[: _SHORT - 1]}…"


def _stage_part(parent: Fingerprint, line: int) -> Part:
    kind: PartKind = "unknown" if parent.unknown else "stage"
    value = ", ".join(part.name for part in parent.unknown) if parent.unknown else parent.digest
    return Part(kind, parent.stage, value, line)


def _file_part(name: str, entry: ContextEntry, line: int) -> Part:
    if not entry.digest:
        return Part("unknown", name, "it cannot be read", line)
    return Part("file", name, entry.digest, line, entry.mode, entry.size, entry.lines)


def _without_from(flag: str) -> str:
    """A mount without the name of its source: that is a part of its own."""
    name, equals, value = flag.partition("=")
    fields = [part for part in value.split(",") if not part.lower().startswith("from=")]
    return f"{name}{equals}{','.join(fields)}" if name == "--mount" else flag
