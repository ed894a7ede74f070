"""Describe what `doctor` finds in a Dockerfile."""

from __future__ import annotations

from dataclasses import dataclass

from stagebake.doctor.fixes.edit import Edit


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the steps that a finding is about cost at one push that runs them; None is unknown.

    `seconds` is their time, `pulled` the compressed bytes of the layers below that they need, `pushed` those of the
    layers that they make.
    """

    seconds: float | None = None
    pulled: int | None = None
    pushed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Frequency:
    """Number of the last pushes that ran the steps of a finding; `pushes` are those that ran any step."""

    runs: int
    pushes: int

    @property
    def share(self) -> float:
        """Return the share of the pushes, from 0 to 1."""
        return self.runs / self.pushes if self.pushes else 0.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Line of a Dockerfile that costs time or trust.

    `rule` is the name for --skip, `problem` a sentence about it, `fix` the lines to use instead. `stage` is the
    stage that runs again because of it, None where it is not one stage. `lines` are the instructions, beside that in
    `line`, that would not run, or would not run as they are, without the problem. `seconds` is how long that stage last
    took, None where it is unknown. `origin` is who found it: stagebake or BuildKit. `cost` is what the line costs at
    each push that runs it, `frequency` how many of the last pushes did; None without a history. `is_note` marks what
    makes no push slower. `edit` is the change of the Dockerfile that `--fix` makes, None where it has none.
    """

    rule: str
    path: str
    line: int
    problem: str
    fix: tuple[str, ...] = ()
    stage: str | None = None
    seconds: float | None = None
    origin: str = "stagebake"
    cost: Cost = Cost()
    frequency: Frequency | None = None
    is_note: bool = False
    lines: tuple[int, ...] = ()
    edit: Edit | None = None
