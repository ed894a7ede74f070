"""Describe what `doctor` finds in a Dockerfile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Line of a Dockerfile that costs time or trust.

    `rule` is the name for --skip, `problem` a sentence about it, `fix` the lines to use instead. `stage` is the
    stage that runs again because of it, None where it is not one stage. `seconds` is how long that stage last took,
    None where it is unknown. `origin` is who found it: stagebake or BuildKit.
    """

    rule: str
    path: str
    line: int
    problem: str
    fix: tuple[str, ...] = ()
    stage: str | None = None
    seconds: float | None = None
    origin: str = "stagebake"
