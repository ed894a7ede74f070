"""Find the cache mounts of a Dockerfile, tell when a build needs them, and write the stages that copy them. Pure.

BuildKit keeps the content of a `RUN --mount=type=cache` in the engine. The key is the mount's id and its first content:
`from` and `source`, or a folder with `uid`, `gid` and `mode` (moby/buildkit, dockerfile2llb/convert_runmount.go and
solver/llbsolver/mounts/mount.go, getRefCacheDir). The content belongs to no image and no cache, so it is lost with the
engine. Every RUN with the same mount sees it: stages appended to the user's Dockerfile copy it out and in again.

A forced stage starts with empty mounts: BuildKit deletes the mounts of each RUN that may not come from a cache
(solver/llbsolver/bridge.go, detectPrunedCacheID). For the same reason the appended stages contain a random word instead
of being forced with `no-cache`.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stagebake.buildkit.events import StepRun, Trace
from stagebake.dockerfile.stages import Stage, StageGraph, StageStep
from stagebake.dockerfile.variables import declared_args, expand_word, predefined_args

MOUNT_STAGE = "stagebake-mounts"

# Build argument that separates the mounts of one engine (docs.docker.com/build/building/variables)
_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
# Instructions that BuildKit reports as steps, besides FROM
_LAYER_KEYWORDS = ("ADD", "COPY", "RUN", "WORKDIR")
# Fields that make two mounts with the same id different
_KEY_FIELDS = ("from", "source", "uid", "gid", "mode")
_ALIASES = {"src": "source", "dst": "target", "destination": "target"}
_LONGEST_NAME = 40
# Folders of the appended stages: mounts, saved content to restore, and what the next stage copies
_MOUNT_FOLDER = "/.stagebake/mount"
_SAVED_FOLDER = "/.stagebake/saved"
_OUTPUT_FOLDER = "/.stagebake/out"


class MountUse(NamedTuple):
    """Step of a stage that has a mount; `step` counts the stage's steps from 0."""

    stage: str
    step: int


@dataclass(frozen=True, kw_only=True)
class CacheMount:
    """Cache mount and the steps that use it.

    `options` are the fields that make it different from others with the same id. `image` is the base image of the
    first stage that has the mount: it contains the programs that copy the content.
    """

    id: str
    options: tuple[tuple[str, str], ...]
    namespace: str
    image: str
    uses: frozenset[MountUse]

    @property
    def name(self) -> str:
        """Return a name for the mount's tag: readable and unique."""
        words = re.sub(r"[^A-Za-z0-9]+", "_", self.id)
        readable = words.strip("_")[:_LONGEST_NAME]
        key = json.dumps([self.namespace, self.id, self.options])
        digest = hashlib.sha256(key.encode()).hexdigest()
        return f"{readable}.{digest[:10]}"

    @property
    def stages(self) -> frozenset[str]:
        """Return the stages that use the mount."""
        return frozenset(use.stage for use in self.uses)

    def starts_from_stage(self, graph: StageGraph) -> bool:
        """Tell whether the first content of the mount comes from a stage."""
        source = dict(self.options).get("from", "")
        return source.lower() in graph.names

    def render_flag(self, target: str) -> str:
        """Return the flag of a RUN that mounts the content at `target`, locked against other steps."""
        options = "".join(f",{key}={value}" for key, value in self.options)
        return f"--mount=type=cache,id={self.id},target={target},sharing=locked{options}"


@dataclass(frozen=True)
class MountContent:
    """Content of a mount: digest of its names, types, modes, owners, sizes and times, and the bytes of its files."""

    digest: str
    bytes: int


def find_mounts(
    graph: StageGraph,
    platforms: Sequence[str] = (),
) -> tuple[tuple[CacheMount, ...], tuple[str, ...]]:
    """Return the cache mounts of the stages that are built, and a warning for each that cannot be saved.

    A mount whose id contains a variable of the platform is a different mount on each of the `platforms`.
    """
    mounts: list[CacheMount] = []
    warnings: list[str] = []
    for platform in platforms or ("",):
        variables = _global_variables(graph, platform)
        for stage in graph.needed_stages():
            for mount, line in _stage_mounts(graph, stage, variables):
                problem = _find_problem(mount)
                if problem:
                    warnings.append(f"{graph.path}:{line}: cache mount {mount.id} is not saved: {problem}")
                else:
                    mounts.append(mount)
    return _join_uses(mounts), tuple(dict.fromkeys(warnings))


def _global_variables(graph: StageGraph, platform: str) -> dict[str, str]:
    """Return the variables outside all stages, where `platform` is not "" those of this platform."""
    variables = dict(graph.variables)
    if platform:
        variables |= predefined_args((platform,), graph.final.target)
    return variables


def _join_uses(mounts: Sequence[CacheMount]) -> tuple[CacheMount, ...]:
    """Make one mount of those that have the same key."""
    joined: dict[str, CacheMount] = {}
    for mount in mounts:
        same = joined.get(mount.name, mount)
        joined[mount.name] = replace(same, uses=same.uses | mount.uses)
    return tuple(joined.values())


def run_mount_uses(graph: StageGraph, trace: Trace) -> frozenset[MountUse]:
    """Return the steps that a build ran, numbered as in the Dockerfile.

    Where BuildKit's steps of a stage do not match the Dockerfile's, return the first step of the stage instead.
    """
    uses = set()
    for stage, steps in trace.steps_by_stage(graph).items():
        positions = _match_steps(graph[stage], steps)
        for step in steps:
            if step.ran:
                uses.add(MountUse(stage, positions.get(step.number, 0)))
    return frozenset(uses)


def _match_steps(stage: Stage, steps: Sequence[StepRun]) -> dict[int, int]:
    """Map BuildKit's step numbers to positions in the stage; empty where they do not match."""
    layers = []
    for position, step in enumerate(stage.steps):
        if step.instruction.keyword in _LAYER_KEYWORDS:
            layers.append(position)
    numbers = {step.number for step in steps if not step.is_from}
    if len(numbers) != len(layers):
        return {}
    return dict(zip(sorted(numbers), layers, strict=True))


def following_steps(graph: StageGraph, ran: Collection[MountUse]) -> frozenset[MountUse]:
    """Return the steps that run if these do: the rest of their stages, and what takes from a stage that changes."""
    first_changes: dict[str, int] = {}
    following = set()
    for stage in graph.needed_stages():
        changes = [use.step for use in ran if use.stage == stage.name]
        changes += _steps_with_sources(stage, first_changes)
        if not changes:
            continue
        first_changes[stage.name] = min(changes)
        for position in range(min(changes), len(stage.steps)):
            following.add(MountUse(stage.name, position))
    return frozenset(following)


def _steps_with_sources(stage: Stage, sources: Collection[object]) -> list[int]:
    """Return the positions of the steps that take from one of the sources."""
    positions = []
    for position, step in enumerate(stage.steps):
        if any(source in sources for source in step.sources):
            positions.append(position)
    return positions


def restore_stages(mounts: Sequence[tuple[CacheMount, str]], word: str) -> str:
    """Return stages that copy saved images (the second of each pair, a ref) into mounts, and keep newer files there.

    `word` is new for each call, so that BuildKit takes none of the steps from a cache.
    """
    flags = []
    commands = []
    for number, (mount, ref) in enumerate(mounts):
        target = f"{_MOUNT_FOLDER}/{number}"
        saved = f"{_SAVED_FOLDER}/{number}"
        flags.append(mount.render_flag(target))
        flags.append(f"--mount=type=bind,from={ref},target={saved}")
        commands.append(f"cp -au {saved}/content/. {target}/")
    first_mount, _ = mounts[0]
    return _render_stage(first_mount.image, MOUNT_STAGE, flags, commands, word)


def listing_stages(mounts: Sequence[CacheMount], word: str) -> str:
    """Return stages whose result has one file for each mount, named 0, 1, …, that `parse_listing` reads.

    `word` is new for each call.
    """
    flags = []
    commands = [f"mkdir {_OUTPUT_FOLDER}"]
    for number, mount in enumerate(mounts):
        target = f"{_MOUNT_FOLDER}/{number}"
        flags.append(mount.render_flag(target))
        commands.append(f"cd {target} && find . -exec stat -c '%f %u %g %s %Y %n' {{}} + > {_OUTPUT_FOLDER}/{number}")
    return _render_output_stages(mounts[0].image, flags, commands, word)


def save_stages(mount: CacheMount, word: str) -> str:
    """Return stages whose result is the mount's content in the folder /content. `word` is new for each call."""
    flag = mount.render_flag(_MOUNT_FOLDER)
    commands = [
        f"mkdir {_OUTPUT_FOLDER}",
        f"cp -a {_MOUNT_FOLDER} {_OUTPUT_FOLDER}/content",
    ]
    return _render_output_stages(mount.image, [flag], commands, word)


def parse_listing(listing: str) -> MountContent:
    """Return the content that a listing of `listing_stages` describes, in any order."""
    entries = []
    size = 0
    for line in listing.splitlines():
        entry, length = _parse_entry(line)
        entries.append(entry)
        size += length
    entries.sort()
    content = "\n".join(entries)
    digest = hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()
    return MountContent(digest=f"sha256:{digest}", bytes=size)


def _parse_entry(line: str) -> tuple[str, int]:
    """Return the properties of a file or folder that count, and the bytes of a file.

    Size and time of a folder do not count: they depend on the file system.
    """
    fields = line.split(" ", 5)
    missing = [""] * (6 - len(fields))
    mode, user, group, length, changed, name = fields + missing
    if mode.startswith("4"):  # a folder (inode(7), S_IFDIR)
        return f"{mode} {user} {group} {name}", 0
    size = int(length) if length.isdecimal() else 0
    return f"{mode} {user} {group} {length} {changed} {name}", size


def _render_output_stages(
    image: str,
    flags: Sequence[str],
    commands: Sequence[str],
    word: str,
) -> str:
    """Return a stage that writes into the output folder, and a last stage that contains only this folder."""
    source = f"{MOUNT_STAGE}-in"
    lines = [
        f"FROM scratch AS {MOUNT_STAGE}",
        f"COPY --from={source} {_OUTPUT_FOLDER}/ /",
        "",
    ]
    return _render_stage(image, source, flags, commands, word) + "\n".join(lines)


def _render_stage(
    image: str,
    name: str,
    flags: Sequence[str],
    commands: Sequence[str],
    word: str,
) -> str:
    """Return a stage with one RUN, as root and without a network."""
    script = "\n".join([f": {word}", *commands])
    command = json.dumps(["/bin/sh", "-euc", script])
    mounts = " ".join(flags)
    lines = [
        "",
        "",
        f"FROM {image} AS {name}",
        "USER 0:0",
        f"RUN --network=none {mounts} {command}",
        "",
    ]
    return "\n".join(lines)


def _stage_mounts(
    graph: StageGraph,
    stage: Stage,
    variables: Mapping[str, str],
) -> Iterator[tuple[CacheMount, int]]:
    """Yield the cache mounts of a stage, each with its line in the Dockerfile."""
    image = _base_image(graph, stage)
    namespace = graph.args.get(_NAMESPACE, "")
    environments = _step_environments(graph, stage, variables)
    for position, step in enumerate(stage.steps):
        for written in step.instruction.mounts:
            fields = _expand_fields(written, environments[position], step, graph.path)
            if fields.get("type", "").lower() != "cache":
                continue
            mount = CacheMount(
                id=fields.get("id") or _clean_target(fields),
                options=_key_options(fields),
                namespace=namespace,
                image=image,
                uses=frozenset({MountUse(stage.name, position)}),
            )
            yield mount, step.instruction.line


def _clean_target(fields: Mapping[str, str]) -> str:
    """Return the target as BuildKit uses it for a mount without id."""
    target = posixpath.normpath(fields.get("target", ""))
    return re.sub("^/+", "/", target)


def _key_options(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    options = []
    for key in _KEY_FIELDS:
        value = fields.get(key)
        if value:
            options.append((key, value))
    return tuple(options)


def _expand_fields(
    written: Mapping[str, str],
    variables: Mapping[str, str],
    step: StageStep,
    path: str,
) -> dict[str, str]:
    """Return the fields of a `--mount` flag under their full names, with variables replaced where they are known."""
    fields = {}
    for key, value in written.items():
        name = _ALIASES.get(key, key)
        fields[name] = expand_word(value, variables, step.instruction, path, keep_unset=True)
    return fields


def _find_problem(mount: CacheMount) -> str:
    """Return why a mount cannot be saved, "" where it can."""
    if "$" in mount.render_flag(""):
        return "no ARG or ENV in this file gives its variables a value"
    if not mount.image:
        return "its stage starts from scratch, which has no program to copy it"
    return ""


def _step_environments(
    graph: StageGraph,
    stage: Stage,
    global_variables: Mapping[str, str],
) -> list[dict[str, str]]:
    """Return the variables that each step of a stage sees, and last those that a stage based on it inherits.

    An ENV overrides an ARG (moby/buildkit, dockerfile2llb/convert.go, toEnvMap), and an ARG ends with its stage.
    """
    args: dict[str, str] = {}
    env = _inherited_env(graph, stage, global_variables)
    environments = []
    for step in stage.steps:
        instruction = step.instruction
        visible = {**args, **env}
        environments.append(visible)
        if instruction.keyword == "ARG":
            declared = declared_args(instruction, visible, global_variables, graph.args, graph.path)
            args |= {name: value for name, value in declared if value is not None}
        elif instruction.keyword == "ENV":
            for name, value in instruction.assignments:
                env[name] = expand_word(value, visible, instruction, graph.path, keep_unset=True)
    environments.append(env)
    return environments


def _inherited_env(
    graph: StageGraph,
    stage: Stage,
    global_variables: Mapping[str, str],
) -> dict[str, str]:
    """Return the ENV of the stage that a stage starts from; empty where it starts from an image."""
    if not isinstance(stage.base, str):
        return {}
    environments = _step_environments(graph, graph[stage.base], global_variables)
    return environments[-1]


def _base_image(graph: StageGraph, stage: Stage) -> str:
    """Return the image that a stage starts from, over any number of stages; "" for scratch.

    The image may have the name of a stage (`FROM node AS node`); a tag makes it different from every stage.
    """
    base = stage.base
    if base is None:
        return ""
    if isinstance(base, str):
        return _base_image(graph, graph[base])
    return f"{base.name}:latest" if base.name in graph.names else base.name
