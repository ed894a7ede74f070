"""Read the JSON that `build --report` writes. Fields of later versions are ignored, missing ones are empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class InvalidReport(ValueError):
    """Text that is not a report of a build."""


@dataclass(frozen=True, kw_only=True)
class ReportedStep:
    """Step of a stage: seconds since 1970 at which its parts began and ended, and whether a cache had its result."""

    name: str
    cached: bool
    seconds: float
    intervals: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class ReportedStage:
    """Stage of a build. `reasons` are sentences; bytes are compressed bytes."""

    name: str
    status: str
    seconds: float
    reasons: tuple[str, ...]
    steps: tuple[ReportedStep, ...]
    pulled: int
    pushed: int
    saved: bool | None


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """Report of one build. `ship` are the seconds until the image was out, `save` those of saving the caches."""

    image: str
    tags: tuple[str, ...]
    digest: str
    stages: tuple[ReportedStage, ...]
    ship: float
    save: float
    pulled: int
    pushed: int
    buildkit: str
    warnings: tuple[str, ...]

    @property
    def started(self) -> float | None:
        """Return the start of the first step in seconds since 1970; None where no step ran."""
        return min((start for start, _ in self._intervals()), default=None)

    @property
    def finished(self) -> float | None:
        """Return the end of the last step in seconds since 1970; None where no step ran."""
        return max((end for _, end in self._intervals()), default=None)

    @property
    def rebuilt(self) -> tuple[str, ...]:
        """Return the names of the stages that were rebuilt."""
        return tuple(stage.name for stage in self.stages if stage.status == "rebuilt")

    def _intervals(self) -> list[tuple[float, float]]:
        return [interval for stage in self.stages for step in stage.steps for interval in step.intervals]


def parse_report(text: str) -> BuildReport:
    """Return the report in a text. Raise InvalidReport."""
    try:
        document = json.loads(text)
        return _read_report(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidReport(f"not a report of a build: {type(error).__name__}: {error}") from None


def _read_report(document: Mapping[str, Any]) -> BuildReport:
    seconds = document["seconds"]
    moved = document.get("bytes", {})
    return BuildReport(
        image=str(document["image"]),
        tags=tuple(str(tag) for tag in document.get("tags", ())),
        digest=str(document.get("digest") or ""),
        stages=tuple(_read_stage(stage) for stage in document["stages"]),
        ship=float(seconds["ship"]),
        save=float(seconds["save"]),
        pulled=int(moved.get("pulled") or 0),
        pushed=int(moved.get("pushed") or 0),
        buildkit=str(document.get("versions", {}).get("buildkit") or ""),
        warnings=tuple(str(warning) for warning in document.get("warnings", ())),
    )


def _read_stage(stage: Mapping[str, Any]) -> ReportedStage:
    moved = stage.get("bytes", {})
    cache = stage.get("cache")
    return ReportedStage(
        name=str(stage["name"]),
        status=str(stage["status"]),
        seconds=float(stage["seconds"]),
        reasons=tuple(_reason_text(reason) for reason in stage.get("reasons", ())),
        steps=tuple(_read_step(step) for step in stage.get("steps", ())),
        pulled=int(moved.get("pulled") or 0),
        pushed=int(moved.get("pushed") or 0),
        saved=bool(cache["saved"]) if cache else None,
    )


def _reason_text(reason: Mapping[str, Any]) -> str:
    """Return a reason for people; `what` of a rebuilt parent is its name alone."""
    kind, what = str(reason.get("kind", "")), str(reason.get("what", ""))
    return f"{kind.replace('-', ' ')}: {what}" if what else kind.replace("-", " ")


def _read_step(step: Mapping[str, Any]) -> ReportedStep:
    return ReportedStep(
        name=str(step["name"]),
        cached=bool(step["cached"]),
        seconds=float(step["seconds"]),
        intervals=tuple((float(start), float(end)) for start, end in step.get("intervals", ())),
    )
