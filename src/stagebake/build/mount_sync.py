"""Restore and save the content of cache mounts in the registry, during one build.

The content of a mount is an image of one layer under its own tag. BuildKit pushes and pulls it; an annotation holds a
digest of the content. Nothing is requested before a step begins that has a mount, or that leads to one: then the build
is interrupted, the content restored, and the build continues where it was.
"""

from __future__ import annotations

import itertools
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
from stagebake.build.failures import summarize_failure
from stagebake.build.result import CarriedMount
from stagebake.buildkit.engine import BakeCall, BuildEngine
from stagebake.buildkit.events import ProgressListener, Trace
from stagebake.buildkit.stall_timer import StallTimer
from stagebake.cache.backends import CacheRepository
from stagebake.cache.manifest import MOUNT_ANNOTATION, InvalidCache, layer_sizes, read_annotation, sha256_digest
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.dockerfile.stages import ForcedStages, StageGraph
from stagebake.errors import RegistryError
from stagebake.generate.bake_file import COMMON_TARGET, OVERRIDE_FILE, BakeOptions, bake_permissions, bake_variables
from stagebake.project.settings import Settings

_PUSH_OPTIONS = "push=true,store=false,unpack=false,oci-mediatypes=true,compression=zstd,force-compression=true"

# Seconds of work that an interruption may undo: most mounts save no more than that
_INTERRUPTIBLE_SECONDS = 20.0

# Seconds between the start of a step and the interruption. As a step starts, BuildKit commits the result below it; a
# build that is cancelled meanwhile leaves the engine without that result (`finalize` in BuildKit's cache/refs.go)
_COMMIT_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class _SavedMount:
    """Content of a mount in the registry; `content` is the digest of what the mount held, `bytes` the layer's size."""

    mount: CacheMount
    ref: str
    content: str
    bytes: int


@dataclass(kw_only=True)
class MountSync:
    """Restore and save the cache mounts of one build.

    `files` are the bake files that its bake calls extend, `imported_cache` is what the build itself imports. BuildKit
    empties the mounts of the `forced` stages, so these are not restored. Each failure is a warning.
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
    clock: Callable[[], float] = time.monotonic
    _mounts: tuple[CacheMount, ...] = ()
    _waiting: list[CacheMount] = field(default_factory=list)
    _due: list[_SavedMount] = field(default_factory=list)
    _due_at: float = 0.0
    _restored: dict[CacheMount, int] = field(default_factory=dict)
    _not_restored: set[CacheMount] = field(default_factory=set)
    _saved: dict[CacheMount, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.settings.cache_mounts or self.repository is None:
            return
        self._mounts, problems = find_mounts(self.graph, self.settings.platforms)
        self.warnings += problems
        for mount in self._mounts:
            if not mount.stages & self.forced.with_dependents:
                self._waiting.append(mount)

    @property
    def carried_mounts(self) -> tuple[CarriedMount, ...]:
        """Return the mounts that were restored or saved."""
        carried = []
        for mount in {**self._restored, **self._saved}:
            restored = self._restored.get(mount)
            saved = self._saved.get(mount)
            carried.append(CarriedMount(id=mount.id, restored=restored, saved=saved))
        return tuple(carried)

    @property
    def is_due(self) -> bool:
        """Tell whether to interrupt the build and call `restore_mounts`."""
        return bool(self._due) and self.clock() >= self._due_at

    def observe_trace(self, trace: Trace) -> None:
        """Check after an event of the build whether a step has begun that leads to a mount with saved content."""
        if self._due or not self._waiting:
            return
        next_steps = following_steps(self.graph, run_mount_uses(self.graph, trace))
        needed = [mount for mount in self._waiting if mount.uses & next_steps]
        if not needed:
            return
        self._waiting = [mount for mount in self._waiting if mount not in needed]
        saved = self._read_saved(needed)
        lost_seconds = _longest_running_seconds(trace)
        if not saved or lost_seconds <= _INTERRUPTIBLE_SECONDS:
            self._due = saved
            self._due_at = self.clock() + _COMMIT_SECONDS
            return
        names = ", ".join(entry.mount.id for entry in saved)
        reason = f"it would have undone {lost_seconds:.0f} s of the build"
        self.warnings.append(f"cache mounts not restored: {names}: {reason}")

    def restore_mounts(self, before: Trace) -> Trace:
        """Restore the mounts that are due; return a trace that includes what ran `before`."""
        due = {entry.mount.name: entry for entry in self._due}
        self._due = []
        trace = before
        for mounts in _group_by_image(entry.mount for entry in due.values()):
            trace = Trace(trace)
            self._restore_group([due[mount.name] for mount in mounts], trace)
        return trace

    def _restore_group(self, saved: Sequence[_SavedMount], trace: Trace) -> None:
        """Restore mounts that need the same image, in one bake call."""
        mounts = [entry.mount for entry in saved]
        refs = [entry.ref for entry in saved]
        stages = restore_stages(list(zip(mounts, refs, strict=True)), _random_word())
        failure = self._run_bake("restoring cache mounts", stages, mounts, "type=cacheonly", trace)
        for entry in saved:
            mount = entry.mount
            if failure is None:
                self._restored[mount] = entry.bytes
            else:
                self._not_restored.add(mount)
                self.warnings.append(f"cache mount {mount.id} was not restored: {failure}")

    def save_mounts(self, trace: Trace) -> None:
        """Save the mounts of the steps that ran, where their content differs from the saved one."""
        scope = self.access.writes
        if self.repository is None or scope is None:
            return
        ran = run_mount_uses(self.graph, trace)
        used = [mount for mount in self._mounts if mount.uses & ran]
        if not used or not self.engine.exports_caches:
            return
        for mounts in _group_by_image(used):
            for mount, content in self._find_changed(mounts):
                tag = scope.mount_tag(mount.name)
                self._save_mount(mount, content, f"{self.repository.image}:{tag}")

    def _find_changed(self, mounts: Sequence[CacheMount]) -> list[tuple[CacheMount, MountContent]]:
        """Return the mounts whose content differs from the saved one, or that could not be restored."""
        saved = {entry.mount.name: entry.content for entry in self._read_saved(mounts)}
        changed = []
        for mount, content in self._read_contents(mounts):
            is_saved = saved.get(mount.name) == content.digest
            if not is_saved or mount in self._not_restored:
                changed.append((mount, content))
        return changed

    def _save_mount(self, mount: CacheMount, content: MountContent, ref: str) -> None:
        failure = self._exceeds_limit(mount, content)
        if failure is None:
            failure = self._push_mount(mount, content, ref)
        if failure is not None:
            self.warnings.append(f"cache mount {mount.id} was not saved: {failure}")
            return
        stored = self._read_saved([mount])
        self._saved[mount] = sum(entry.bytes for entry in stored)

    def _exceeds_limit(self, mount: CacheMount, content: MountContent) -> str | None:
        """Return why a mount is too large to be saved, None where it is not."""
        limit = self.settings.cache_mounts_limit
        if content.bytes <= limit:
            return None
        stage = min(mount.stages)
        return (
            f"it holds {content.bytes} bytes, more than cache-mounts-limit ({limit}); "
            f"raise the limit, or empty the mount: --no-cache {stage}"
        )

    def _push_mount(self, mount: CacheMount, content: MountContent, ref: str) -> str | None:
        """Push the content of a mount as an image. Return the failure in one line, None on success."""
        annotation = f"annotation.{MOUNT_ANNOTATION}={content.digest}"
        output = f"type=image,name={ref},{_PUSH_OPTIONS},{annotation}"
        stages = save_stages(mount, _random_word())
        return self._run_bake("saving cache mounts", stages, [mount], output, Trace())

    def _read_contents(self, mounts: Sequence[CacheMount]) -> list[tuple[CacheMount, MountContent]]:
        """Return what the mounts contain now, without empty mounts."""
        found = []
        with tempfile.TemporaryDirectory(prefix="stagebake-") as folder:
            stages = listing_stages(mounts, _random_word())
            output = f"type=local,dest={folder}"
            permission = f"fs.write={folder}"
            failure = self._run_bake("listing cache mounts", stages, mounts, output, Trace(), permission)
            if failure is not None:
                self._warn_unread(mounts, failure)
                return []
            for number, mount in enumerate(mounts):
                listing = Path(folder, str(number)).read_text("utf-8", "surrogateescape")
                content = parse_listing(listing)
                if content.bytes:
                    found.append((mount, content))
        return found

    def _warn_unread(self, mounts: Sequence[CacheMount], failure: str) -> None:
        names = ", ".join(mount.id for mount in mounts)
        self.warnings.append(f"cache mounts not saved: {names}: {failure}")

    def _read_saved(self, mounts: Sequence[CacheMount]) -> list[_SavedMount]:
        """Return the content that the registry has of these mounts, each from the nearest scope."""
        if self.repository is None:
            return []
        tags = {}
        for mount in mounts:
            for scope in self.access.reads:
                tags[scope.mount_tag(mount.name)] = mount
        answers = self.repository.read_manifests(tags)
        failures = {str(answer) for answer in answers.values() if isinstance(answer, RegistryError)}
        for failure in sorted(failures):
            self.warnings.append(f"cache mounts are not read: {failure}")
        nearest: dict[str, _SavedMount] = {}
        for tag, mount in tags.items():
            saved = self._parse_saved(mount, tag, answers[tag])
            if saved is not None:
                nearest.setdefault(mount.name, saved)
        return list(nearest.values())

    def _parse_saved(
        self,
        mount: CacheMount,
        tag: str,
        manifest: bytes | RegistryError | None,
    ) -> _SavedMount | None:
        """Return the content under a tag; None, and a warning, where the tag holds something else."""
        if self.repository is None or not isinstance(manifest, bytes):
            return None
        try:
            content = read_annotation(manifest, MOUNT_ANNOTATION)
            layers = layer_sizes(manifest)
        except InvalidCache as error:
            self.warnings.append(f"cache mounts are not read: {tag}: {error}")
            return None
        ref = f"{self.repository.image}@{sha256_digest(manifest)}"
        return _SavedMount(
            mount=mount,
            ref=ref,
            content=content,
            bytes=sum(layers.values()),
        )

    def _run_bake(
        self,
        doing: str,
        stages: str,
        mounts: Sequence[CacheMount],
        output: str,
        trace: Trace,
        *permissions: str,
    ) -> str | None:
        """Build `stages` after the user's Dockerfile. Return the failure in one line, None on success."""
        stall_timer = StallTimer(self.settings.patience)

        def observe_line(line: str) -> None:
            trace.feed_line(line)
            stall_timer.observe_trace(trace)
            self.progress(doing, trace)

        call = self._make_call(stages, mounts, output, permissions)
        bake_result = self.engine.run_bake(call, observe_line, stall_timer.is_overdue)
        if bake_result.exit_code == 0:
            return None
        return summarize_failure(trace, stall_timer.stall)

    def _make_call(
        self,
        stages: str,
        mounts: Sequence[CacheMount],
        output: str,
        permissions: Sequence[str],
    ) -> BakeCall:
        target = {
            "inherits": [COMMON_TARGET],
            "dockerfile-inline": self.dockerfile_text + stages,
            "target": MOUNT_STAGE,
            "output": [output],
            "platforms": [],
            "attest": ["type=provenance,disabled=true"],
        }
        needs_cache = any(mount.starts_from_stage(self.graph) for mount in mounts)
        bake_options = BakeOptions(
            stage=self.graph.final.name,
            output=output,
            cache=self.imported_cache if needs_cache else None,
        )
        document = {"target": {MOUNT_STAGE: target}}
        return BakeCall(
            target=MOUNT_STAGE,
            files={**self.files, "mounts.json": json.dumps(document)},
            variables=bake_variables(self.settings, bake_options, DEFAULT_SCOPE),
            allow=(*bake_permissions(self.settings, self.files.get(OVERRIDE_FILE)), *permissions),
        )


def _group_by_image(mounts: Iterable[CacheMount]) -> Iterator[list[CacheMount]]:
    """Yield the mounts whose content is copied with the programs of the same image."""
    ordered = sorted(mounts, key=lambda mount: mount.image)
    for _, group in itertools.groupby(ordered, key=lambda mount: mount.image):
        yield list(group)


def _longest_running_seconds(trace: Trace) -> float:
    """Return the seconds since the oldest start of a step that runs now."""
    now = time.time()
    oldest = now
    for step in trace.step_runs():
        if step.running:
            starts = [start for start, _ in step.intervals]
            oldest = min([oldest, *starts])
    return now - oldest


def _random_word() -> str:
    return secrets.token_hex(8)
