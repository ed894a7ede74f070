"""The cache mounts of a Dockerfile: which there are, when they are needed, and the Dockerfiles that carry them. Pure.

BuildKit keeps the content of a `RUN --mount=type=cache` in the engine, under the mount's id and what it starts from:
`from` and `source`, or a folder of `uid`, `gid` and `mode` (moby/buildkit, dockerfile2llb/convert_runmount.go and
solver/llbsolver/mounts/mount.go, getRefCacheDir). It belongs to no image and no cache, so it ends with the engine.
Any RUN with the same mount sees it: so stages appended to the user's own Dockerfile copy it out, and in again.

A forced stage begins with empty mounts: BuildKit prunes those of every RUN that must not come from a cache
(solver/llbsolver/bridge.go, detectPrunedCacheID). That is also why these stages have a word that nothing knows yet,
and not `no-cache`.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stagebake.build.events import Trace
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph
from stagebake.dockerfile.variables import declared_args, expand_word, predefined_args

MOUNT_STAGE = "stagebake-mounts"

# The build argument that parts the mounts of one engine (docs.docker.com/build/building/variables)
_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
_LAYERS = ("ADD", "COPY", "RUN", "WORKDIR")
_TELLING = ("from", "source", "uid", "gid", "mode")
_ALIASES = {"src": "source", "dst": "target", "destination": "target"}
_LONGEST = 40
_PLACE = "/.stagebake"


class MountUse(NamedTuple):
    """A step of a stage that has a mount; `step` counts the stage's steps from 0."""

    stage: str
    step: int


@dataclass(frozen=True, kw_only=True)
class CacheMount:
    """One cache mount. `options` tell it from others of the same id, as flags of a RUN; `image` is what the first stage
    that has it is built on: there the programs are that copy it.
    """

    id: str
    options: tuple[tuple[str, str], ...]
    namespace: str
    image: str
    uses: frozenset[MountUse]

    @property
    def name(self) -> str:
        """A name as part of a tag: readable, and of no other mount."""
        readable = re.sub(r"[^A-Za-z0-9]+", "_", self.id).strip("_")[:_LONGEST]
        exact = json.dumps([self.namespace, self.id, self.options])
        return f"{readable}.{hashlib.sha256(exact.encode()).hexdigest()[:10]}"

    @property
    def stages(self) -> frozenset[str]:
        return frozenset(use.stage for use in self.uses)

    def starts_from(self, graph: StageGraph) -> bool:
        """Whether the mount's first content is that of a stage."""
        return dict(self.options).get("from", "").lower() in graph.names

    def flag(self, target: str) -> str:
        """The mount for a RUN of ours, which waits until no other step has it."""
        options = "".join(f",{key}={value}" for key, value in self.options)
        return f"--mount=type=cache,id={self.id},target={target},sharing=locked{options}"


@dataclass(frozen=True)
class MountContent:
    """What is in a mount: a digest of names, kinds, modes, owners, sizes and times, and the bytes of its files."""

    digest: str
    bytes: int


def find_mounts(graph: StageGraph, platforms: Sequence[str] = ()) -> tuple[tuple[CacheMount, ...], tuple[str, ...]]:
    """The cache mounts of the stages that are built, and a warning for each that cannot be carried."""
    found: dict[tuple[object, ...], CacheMount] = {}
    warnings: dict[str, None] = {}
    for platform in platforms or ("",):
        outer = {**graph.variables, **(predefined_args((platform,), graph.final.target) if platform else {})}
        for stage in graph.needed_stages():
            for mount, problem in _of_stage(graph, stage, outer):
                key = (mount.namespace, mount.id, mount.options)
                if problem:
                    warnings[problem] = None
                elif key in found:
                    found[key] = replace(found[key], uses=found[key].uses | mount.uses)
                else:
                    found[key] = mount
    return tuple(found.values()), tuple(warnings)


def run_mount_uses(graph: StageGraph, trace: Trace) -> frozenset[MountUse]:
    """The steps that a build ran. Where its steps are not the Dockerfile's, the first of the stage stands for all."""
    uses = set()
    for stage, steps in trace.steps_by_stage(graph).items():
        layers = [i for i, step in enumerate(graph[stage].steps) if step.instruction.keyword in _LAYERS]
        numbers = sorted({step.number for step in steps if not step.is_from})
        known = dict(zip(numbers, layers, strict=True)) if len(numbers) == len(layers) else {}
        uses |= {MountUse(stage, known.get(step.number, 0)) for step in steps if step.ran}
    return frozenset(uses)


def following_steps(graph: StageGraph, ran: Collection[MountUse]) -> frozenset[MountUse]:
    """All steps that will run where these do: what follows in a stage, and what takes from a stage that changes."""
    first: dict[str, int] = {}
    for stage in graph.needed_stages():
        starts = [use.step for use in ran if use.stage == stage.name]
        starts += [i for i, step in enumerate(stage.steps) if any(source in first for source in step.sources)]
        if starts:
            first[stage.name] = min(starts)
    return frozenset(MountUse(name, i) for name, start in first.items() for i in range(start, len(graph[name].steps)))


def restore_stages(mounts: Sequence[tuple[CacheMount, str]], word: str) -> str:
    """Stages that copy saved images (the second of each pair, a ref) into their mounts. What is newer there stays."""
    flags = [
        f"{mount.flag(f'{_PLACE}/mount/{i}')} --mount=type=bind,from={ref},target={_PLACE}/saved/{i}"
        for i, (mount, ref) in enumerate(mounts)
    ]
    copies = [f"cp -au {_PLACE}/saved/{i}/content/. {_PLACE}/mount/{i}/" for i in range(len(mounts))]
    return _stage(mounts[0][0].image, MOUNT_STAGE, flags, copies, word)


def listing_stages(mounts: Sequence[CacheMount], word: str) -> str:
    """Stages that hold one list for each mount, named 0, 1, …: what there is to `read`."""
    flags = [mount.flag(f"{_PLACE}/mount/{i}") for i, mount in enumerate(mounts)]
    lists = [
        f"cd {_PLACE}/mount/{i} && find . -exec stat -c '%f %u %g %s %Y %n' {{}} + > {_PLACE}/out/{i}"
        for i in range(len(mounts))
    ]
    look = _stage(mounts[0].image, f"{MOUNT_STAGE}-in", flags, [f"mkdir {_PLACE}/out", *lists], word)
    return f"{look}FROM scratch AS {MOUNT_STAGE}\nCOPY --from={MOUNT_STAGE}-in {_PLACE}/out/ /\n"


def save_stages(mount: CacheMount, word: str) -> str:
    """Stages that hold the mount's content as /content."""
    copies = [f"mkdir {_PLACE}/out", f"cp -a {_PLACE}/mount {_PLACE}/out/content"]
    copy = _stage(mount.image, f"{MOUNT_STAGE}-in", [mount.flag(f"{_PLACE}/mount")], copies, word)
    return f"{copy}FROM scratch AS {MOUNT_STAGE}\nCOPY --from={MOUNT_STAGE}-in {_PLACE}/out/ /\n"


def parse_listing(listing: str) -> MountContent:
    """The content that a list describes. A folder's size and time are the file system's own business."""
    lines, size = [], 0
    for line in listing.splitlines():
        mode, user, group, length, changed, name = (line.split(" ", 5) + [""] * 6)[:6]
        if mode.startswith("4"):  # a folder (inode(7), S_IFDIR)
            lines.append(" ".join((mode, user, group, name)))
        else:
            lines.append(" ".join((mode, user, group, length, changed, name)))
            size += int(length) if length.isdecimal() else 0
    digest = hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()
    return MountContent(digest=f"sha256:{digest}", bytes=size)


def _stage(image: str, name: str, flags: Sequence[str], commands: Sequence[str], word: str) -> str:
    """A stage with one RUN, as root and without a network. `word` makes it another step each time."""
    script = json.dumps(["/bin/sh", "-euc", "\n".join([f": {word}", *commands])])
    return f"\n\nFROM {image} AS {name}\nUSER 0:0\nRUN --network=none {' '.join(flags)} {script}\n"


def _of_stage(graph: StageGraph, stage: Stage, outer: Mapping[str, str]) -> Iterator[tuple[CacheMount, str]]:
    """Each cache mount of a stage, with what is wrong with it or ""."""
    image = _image(graph, stage)
    for i, (step, seen) in enumerate(zip(stage.steps, _environments(graph, stage, outer), strict=False)):
        for written in step.instruction.mounts:
            fields = {
                _ALIASES.get(key, key): expand_word(value, seen, step.instruction, graph.path, keep_unset=True)
                for key, value in written.items()
            }
            if fields.get("type", "").lower() == "cache":
                mount = CacheMount(
                    id=fields.get("id") or re.sub("^/+", "/", posixpath.normpath(fields.get("target", ""))),
                    options=tuple((key, fields[key]) for key in _TELLING if fields.get(key)),
                    namespace=graph.args.get(_NAMESPACE, ""),
                    image=image,
                    uses=frozenset({MountUse(stage.name, i)}),
                )
                problem = _problem(mount)
                where = f"{graph.path}:{step.instruction.line}: cache mount {mount.id} is not carried"
                yield mount, f"{where}: {problem}" if problem else ""


def _problem(mount: CacheMount) -> str:
    if "$" in mount.flag(""):
        return "no ARG or ENV in this file gives its variables a value"
    return "" if mount.image else "its stage starts from scratch, where no program can copy it"


def _environments(graph: StageGraph, stage: Stage, outer: Mapping[str, str]) -> list[dict[str, str]]:
    """The variables that each step of a stage sees, and last those that a stage sees which starts from it.

    An ENV goes over an ARG (moby/buildkit, dockerfile2llb/convert.go, toEnvMap), and an ARG ends with its stage.
    """
    start = stage.steps[0].sources
    fixed = _environments(graph, graph[start[0]], outer)[-1] if start and isinstance(start[0], str) else {}
    passing: dict[str, str] = {}
    seen = []
    for step in stage.steps:
        seen.append({**passing, **fixed})
        words = step.instruction.args
        if step.instruction.keyword == "ARG":
            declared = declared_args(step.instruction, seen[-1], outer, graph.args, graph.path)
            passing |= {name: value for name, value in declared if value is not None}
        elif step.instruction.keyword == "ENV":
            fixed |= {
                name: expand_word(value, seen[-1], step.instruction, graph.path, keep_unset=True)
                for name, value in zip(words[::3], words[1::3], strict=False)
            }
    seen.append(fixed)
    return seen


def _image(graph: StageGraph, stage: Stage) -> str:
    """The image that a stage is built on, over any number of stages; "" for scratch.

    It may have the name of a stage (`FROM node AS node`), which no stage has that ends in a tag.
    """
    sources = stage.steps[0].sources
    if not sources:
        return ""
    if isinstance(sources[0], ImageReference):
        name = sources[0].name
        return f"{name}:latest" if name in graph.names else name
    return _image(graph, graph[sources[0]])
