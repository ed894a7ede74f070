"""Tell which stage or step exceeds a limit of the registry or of the disk. Pure.

Limits of ghcr.io: docs.github.com/packages, "Working with the Container registry": 10 GB for each layer, 10 minutes for
an upload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stagebake.buildkit.events import StepRun
from stagebake.formatting import format_size

_GITHUB_REGISTRY = "ghcr.io"
_GITHUB_LAYER_BYTES = 10 * 10**9
_GITHUB_LIMITS = "ghcr.io refuses a layer of more than 10 GB and ends an upload after 10 minutes"

# Disk that an image needs for each byte of its compressed layers: the layers, their files, what rebuilt steps add
_DISK_FACTOR = 3.5
# Free bytes from which on no image is expected to fill the disk
AMPLE_DISK_BYTES = 40 * 10**9

_TOO_LARGE = re.compile(r"\b413\b|too large|exceeds? the (?:maximum|limit|size)", re.IGNORECASE)
_CUT_OFF = re.compile(
    r"\bEOF\b|connection reset|broken pipe|connection lost|time-?out|timed out|\b5\d\d\b|\b499\b", re.I
)
_DISK_FULL = "no space left on device"
# moby/buildkit, solver/llbsolver/ops/exec.go: description of a result of RUN
_RUN_RESULT = re.compile(r"^mount / from exec /bin/sh -c (?P<command>.*)$", re.DOTALL)
_STEP_RESULT = re.compile(r"^\[(?P<stage>[^\]]*?) *\d+/\d+\] (?P<step>.*)$", re.DOTALL)
_SIZE = re.compile(r"(?P<number>[\d.]+)(?P<unit>[kMGT]?)B")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# Number of steps that a message names, and the smallest size of one that may have caused a cut upload
_NAMED_STEPS = 3
_LARGE_BYTES = 10**9


@dataclass(frozen=True, kw_only=True)
class StepSize:
    """Step, the stage that it belongs to ("" if unknown), and the uncompressed bytes of its result."""

    step: str
    stage: str
    bytes: int

    def __str__(self) -> str:
        """Return the step for a message."""
        place = f"stage {self.stage}, " if self.stage else ""
        return f"{place}`{self.step}` ({format_size(self.bytes)} uncompressed)"


@dataclass(frozen=True, kw_only=True)
class DiskSpace:
    """Folder of the engine's data, and the bytes that are free there."""

    folder: str
    free: int


def is_layer_too_large(message: str) -> bool:
    """Tell whether a registry refused a pushed layer for its size."""
    return bool(_TOO_LARGE.search(_without_addresses(message)))


def is_upload_cut_off(message: str) -> bool:
    """Tell whether ghcr.io may have ended an upload that took too long."""
    return f"failed to push {_GITHUB_REGISTRY}/" in message and bool(_CUT_OFF.search(_without_addresses(message)))


def is_disk_full(lines: Iterable[str]) -> bool:
    """Tell whether a message or the output of a step says that the disk is full."""
    return any(_DISK_FULL in line for line in lines)


def parse_step_sizes(text: str, steps: Iterable[StepRun]) -> tuple[StepSize, ...]:
    """Return the largest results that `docker buildx du --format=json` lists, largest first.

    `steps` are those of the build; they tell to which stage a RUN belongs. Lines of another shape are left out.
    """
    stages = {step.name: step.stage or "" for step in steps}
    sizes: list[StepSize] = []
    for line in text.splitlines():
        size = _parse_result(line, stages)
        if size is not None:
            sizes.append(size)
    sizes.sort(key=lambda size: size.bytes, reverse=True)
    return tuple(sizes[:_NAMED_STEPS])


def explain_large_layer(sizes: tuple[StepSize, ...], message: str) -> str:
    """Return the hint for a push that failed at a size limit; empty where no step is large enough for it."""
    refused = is_layer_too_large(message)
    large = [size for size in sizes if refused or size.bytes >= _LARGE_BYTES]
    if not large and not refused:
        return ""
    named = f"; largest steps: {', '.join(str(size) for size in large)}" if large else ""
    if f"failed to push {_GITHUB_REGISTRY}/" in message:
        limit = _GITHUB_LIMITS
    else:
        limit = "the registry, or a proxy before it, limits the size of a layer"
    return f"{limit}: split the step, or remove files in the step that makes them{named}"


def has_layer_limit(refs: Iterable[str]) -> bool:
    """Tell whether one of the image's refs is in a registry that limits layers."""
    return any(ref.startswith(f"{_GITHUB_REGISTRY}/") for ref in refs)


def warn_large_stages(stage_bytes: Mapping[str, int]) -> tuple[str, ...]:
    """Return a warning for each stage whose last layers may be too large for ghcr.io, by their compressed bytes."""
    warnings: list[str] = []
    for stage, size in stage_bytes.items():
        if size > _GITHUB_LAYER_BYTES:
            warnings.append(f"stage {stage} had {format_size(size)} of layers in its last build: {_GITHUB_LIMITS}")
    return tuple(warnings)


def warn_low_disk(disk: DiskSpace, stage_bytes: Mapping[str, int]) -> tuple[str, ...]:
    """Return a warning if the image may need more disk than is free, by the compressed bytes of its stages."""
    needed = int(sum(stage_bytes.values()) * _DISK_FACTOR)
    if needed <= disk.free:
        return ()
    return (
        f"the image needs about {format_size(needed)} of disk, and {disk.folder} has {format_size(disk.free)} free: "
        "remove unused images (docker image prune --all), or in a workflow use `stagebake init --make-room`",
    )


def _parse_result(line: str, stages: Mapping[str, str]) -> StepSize | None:
    try:
        document = json.loads(line)
        description = str(document["Description"])
        size = _SIZE.fullmatch(document["Size"])
    except (ValueError, KeyError, TypeError):
        return None
    if size is None:
        return None
    count = int(float(size["number"]) * _UNITS[size["unit"]])
    command = _RUN_RESULT.match(description)
    if command:
        step = f"RUN {command['command']}"
        return StepSize(step=step, stage=stages.get(step, ""), bytes=count)
    named = _STEP_RESULT.match(description)
    if named:
        return StepSize(step=named["step"], stage=named["stage"], bytes=count)
    return None


def _without_addresses(message: str) -> str:
    """Return a message without its URLs and digests, whose numbers are no status."""
    return re.sub(r"https?://[^\s\"]+|sha256:[0-9a-f]+", "", message)
