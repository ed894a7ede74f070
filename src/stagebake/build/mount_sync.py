"""Carries the content of cache mounts between the engine and the registry, beside one build.

Each mount is an image of one layer under a tag of its own, which BuildKit pushes and pulls; what it holds stands in an
annotation. Nothing is asked or moved before a step has begun that has the mount, or leads to one: then the build is
broken off, the content is restored, and the build goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from stagebake.build.cache_mounts import (
    MOUNT_STAGE,
    CacheMount,
    MountContent,
    find_mounts,
    following_steps,
    listing_stages,
    parse_listing,
    restore_stages,
    run_mount_uses,
    save_stages,
)
from stagebake.build.engine import BakeCall, BuildEngine
from stagebake.build.events import ProgressListener, Trace
from stagebake.build.failures import summarize_failure
from stagebake.build.result import CarriedMount
from stagebake.build.stall_timer import StallTimer
from stagebake.cache.manifest import InvalidCache, layer_sizes, read_annotation, sha256_digest
from stagebake.cache.repository import CacheRepository
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.dockerfile.stages import ForcedStages, StageGraph
from stagebake.errors import RegistryError
from stagebake.generate.bake_file import COMMON_TARGET, BakeOptions, bake_permissions, bake_variables
from stagebake.project.settings import Settings

_CONTENT = "stagebake.content"
_SAVE = "push=true,store=false,unpack=false,oci-mediatypes=true,compression=zstd,force-compression=true"

T = TypeVar("T")

# A build that has run this long is not broken off: it would lose more than most mounts bring
_WORTH_SECONDS = 20.0


@dataclass(frozen=True)
class _Saved:
    """The content that a scope has of a mount."""

    ref: str
    content: str
    bytes: int


@dataclass(kw_only=True)
class MountSync:
    """The cache mounts of one build. `files` are the bake files that its calls are laid over.

    BuildKit empties the mounts of the `forced` stages; they are not restored.
    """

    graph: StageGraph
    settings: Settings
    dockerfile_text: str
    access: Access
    forced: ForcedStages
    files: Mapping[str, str]
    engine: BuildEngine
    repository: CacheRepository | None
    progress: ProgressListener
    warnings: list[str]
    imported_cache: str | None = None
    _mounts: tuple[CacheMount, ...] = ()
    _left: tuple[CacheMount, ...] = ()
    _due: tuple[tuple[CacheMount, _Saved], ...] = ()
    _unsound: set[str] = field(default_factory=set)
    _carried: dict[str, CarriedMount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.settings.cache_mounts and self.repository is not None:
            self._mounts, problems = find_mounts(self.graph, self.settings.platforms)
            self._left = tuple(mount for mount in self._mounts if not mount.stages & self.forced.with_dependents)
            self.warnings += problems

    @property
    def carried_mounts(self) -> tuple[CarriedMount, ...]:
        """What was restored and saved."""
        return tuple(self._carried.values())

    @property
    def is_due(self) -> bool:
        """Whether the build is to be broken off, to `restore` what it is about to need."""
        return bool(self._due)

    def observe_trace(self, trace: Trace) -> None:
        """Looks, after an event of the build, whether a step has begun that leads to a mount whose content is saved."""
        if self._due or not self._left:
            return
        coming = following_steps(self.graph, run_mount_uses(self.graph, trace))
        due = tuple(mount for mount in self._left if mount.uses & coming)
        if not due:
            return
        self._left = tuple(mount for mount in self._left if mount not in due)
        saved = self._saved(due)
        if saved and (lost := _longest_run(trace)) > _WORTH_SECONDS:
            names = ", ".join(mount.id for mount, _ in saved)
            self.warnings.append(f"cache mounts not restored: {names}: it would have undone {lost:.0f} s of the build")
        else:
            self._due = saved

    def restore_mounts(self, earlier: Trace) -> Trace:
        """Restores what the build was broken off for; returns what ran until now. What fails is a warning."""
        due, self._due = self._due, ()
        for pairs in _by_image(due, lambda pair: pair[0]):
            text = restore_stages([(mount, saved.ref) for mount, saved in pairs], _word())
            earlier = Trace(earlier)
            failed = self._bake("restoring cache mounts", text, [m for m, _ in pairs], "type=cacheonly", earlier)
            for mount, saved in pairs:
                if failed:
                    self._unsound.add(mount.name)
                    self.warnings.append(f"cache mount {mount.id} was not restored: {failed}")
                else:
                    self._carried[mount.name] = CarriedMount(id=mount.id, restored=saved.bytes)
        return earlier

    def save_mounts(self, trace: Trace) -> None:
        """Saves the mounts of the steps that ran, where their content is new. What fails is a warning."""
        ran = run_mount_uses(self.graph, trace)
        used = tuple(mount for mount in self._mounts if mount.uses & ran)
        if self.repository is None or self.access.writes is None or not used or not self.engine.exports_caches:
            return
        for group in _by_image(used, lambda mount: mount):
            saved = {mount.name: saved for mount, saved in self._saved(group)}
            for mount, content in self._contents(group):
                known = saved.get(mount.name)
                if known is None or known.content != content.digest or mount.name in self._unsound:
                    self._save(mount, content, f"{self.repository.image}:{self.access.writes.mount_tag(mount.name)}")

    def _save(self, mount: CacheMount, content: MountContent, ref: str) -> None:
        limit = self.settings.cache_mounts_limit
        if content.bytes > limit:
            self.warnings.append(
                f"cache mount {mount.id} was not saved: it holds {content.bytes} bytes, more than cache-mounts-limit "
                f"({limit}); raise that, or empty the mount: --no-cache {min(mount.stages)}"
            )
            return
        output = f"type=image,name={ref},{_SAVE},annotation.{_CONTENT}={content.digest}"
        if failed := self._bake("saving cache mounts", save_stages(mount, _word()), [mount], output, Trace()):
            self.warnings.append(f"cache mount {mount.id} was not saved: {failed}")
            return
        bytes_ = next((saved.bytes for _, saved in self._saved([mount])), 0)
        carried = self._carried.get(mount.name, CarriedMount(id=mount.id))
        self._carried[mount.name] = replace(carried, saved=bytes_)

    def _contents(self, group: Sequence[CacheMount]) -> list[tuple[CacheMount, MountContent]]:
        """What is in the mounts now, without those that are empty."""
        with tempfile.TemporaryDirectory(prefix="stagebake-") as folder:
            text, output = listing_stages(group, _word()), f"type=local,dest={folder}"
            if failed := self._bake("looking at cache mounts", text, group, output, Trace(), (f"fs.write={folder}",)):
                self.warnings.append(f"cache mounts not saved: {', '.join(mount.id for mount in group)}: {failed}")
                return []
            lists = [Path(folder, str(i)).read_text("utf-8", "surrogateescape") for i in range(len(group))]
        found = zip(group, map(parse_listing, lists), strict=True)
        return [(mount, content) for mount, content in found if content.bytes]

    def _saved(self, group: Sequence[CacheMount]) -> tuple[tuple[CacheMount, _Saved], ...]:
        """What the registry has of these mounts, of each the nearest scope's."""
        if self.repository is None:
            return ()
        tags = {(mount.name, scope): scope.mount_tag(mount.name) for mount in group for scope in self.access.reads}
        answers = self.repository.read_manifests(tags.values())
        failures = {str(answer) for answer in answers.values() if isinstance(answer, RegistryError)}
        self.warnings += [f"cache mounts are not read: {failure}" for failure in sorted(failures)]
        image = self.repository.image
        saved = {tag: self._read(body, image, tag) for tag, body in answers.items() if isinstance(body, bytes)}
        nearest = ((mount, (saved.get(tags[mount.name, scope]) for scope in self.access.reads)) for mount in group)
        return tuple((mount, first) for mount, found in nearest if (first := next(filter(None, found), None)))

    def _read(self, manifest: bytes, image: str, tag: str) -> _Saved | None:
        """What a tag holds; None, and a warning, where that is no mount's content."""
        try:
            content, layers = read_annotation(manifest, _CONTENT), layer_sizes(manifest)
        except InvalidCache as error:
            self.warnings.append(f"cache mounts are not read: {tag}: {error}")
            return None
        return _Saved(ref=f"{image}@{sha256_digest(manifest)}", content=content, bytes=sum(layers.values()))

    def _bake(
        self,
        doing: str,
        text: str,
        group: Sequence[CacheMount],
        output: str,
        trace: Trace,
        rights: tuple[str, ...] = (),
    ) -> str:
        """One bake call of the stages in `text`, appended to the user's Dockerfile; returns what went wrong, or ""."""

        stall_timer = StallTimer(self.settings.patience)

        def listen(line: str) -> None:
            trace.feed_line(line)
            stall_timer.observe_trace(trace)
            self.progress(doing, trace)

        body = {
            "inherits": [COMMON_TARGET],
            "dockerfile-inline": self.dockerfile_text + text,
            "target": MOUNT_STAGE,
            "output": [output],
            "platforms": [],
            "attest": ["type=provenance,disabled=true"],
        }
        cache = self.imported_cache if any(mount.starts_from(self.graph) for mount in group) else None
        bake_options = BakeOptions(stage=self.graph.final.name, output=output, cache=cache)
        call = BakeCall(
            target=MOUNT_STAGE,
            files={**self.files, "mounts.json": json.dumps({"target": {MOUNT_STAGE: body}})},
            variables=bake_variables(self.settings, bake_options, DEFAULT_SCOPE),
            allow=(*bake_permissions(self.settings), *rights),
        )
        bake_result = self.engine.run_bake(call, listen, stall_timer.is_overdue)
        return "" if bake_result.exit_code == 0 else summarize_failure(trace, stall_timer.stall)


def _by_image(items: Sequence[T], mount: Callable[[T], CacheMount]) -> list[tuple[T, ...]]:
    """In groups whose mounts are copied on the same image."""
    ordered = sorted(items, key=lambda item: mount(item).image)
    return [tuple(group) for _, group in itertools.groupby(ordered, key=lambda item: mount(item).image)]


def _longest_run(trace: Trace) -> float:
    """Seconds for which the step that runs longest has run."""
    now = time.time()
    starts = [start for step in trace.step_runs() if step.running for start, _ in step.intervals]
    return max((now - start for start in starts), default=0.0)


def _word() -> str:
    return secrets.token_hex(8)
