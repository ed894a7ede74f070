"""Say for each line of an existing build whether stagebake takes it over, replaces it or leaves it out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Outcome(Enum):
    """What happens to a line of the existing build; the values are shown to people."""

    TAKEN = "taken"
    """A setting or the new workflow has it."""
    BUILT_IN = "built in"
    """stagebake does it in its own way."""
    LEFT = "left out"
    """Nothing does it; the explanation says what to do."""


@dataclass(frozen=True, kw_only=True)
class LineDecision:
    """LineDecision about one line: its place (file:line), its text, and why."""

    place: str
    subject: str
    outcome: Outcome
    explanation: str

    def format_line(self) -> str:
        """Return the decision as one line for people."""
        return f"{self.place}: {self.subject}: {self.outcome.value}: {self.explanation}"


@dataclass(kw_only=True)
class TakeoverDraft:
    """What is taken over so far.

    Paths of the build are relative to `folder`. `settings` has values of the settings' own types. `override` has bake
    attributes as HCL, `variables` the environment of the workflow's build step, `decisions` what was decided.
    """

    folder: str = "."
    settings: dict[str, Any] = field(default_factory=dict)
    override: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    decisions: list[LineDecision] = field(default_factory=list)

    def take(self, place: str, subject: str, explanation: str) -> None:
        """Note that a line is taken over."""
        self._decide(place, subject, Outcome.TAKEN, explanation)

    def replace(self, place: str, subject: str, explanation: str) -> None:
        """Note that stagebake does in its own way what a line does."""
        self._decide(place, subject, Outcome.BUILT_IN, explanation)

    def leave(self, place: str, subject: str, explanation: str) -> None:
        """Note that a line is left out."""
        self._decide(place, subject, Outcome.LEFT, explanation)

    def add_setting(self, place: str, subject: str, key: str, value: Any) -> None:
        """Take a line over as a setting; tables and lists of several lines are joined."""
        before = self.settings.get(key)
        if isinstance(value, Mapping):
            value = {**(before or {}), **value}
        elif isinstance(value, tuple):
            value = (*(before or ()), *value)
        self.settings[key] = value
        self.take(place, subject, f"setting `{key}`")

    def _decide(self, place: str, subject: str, outcome: Outcome, explanation: str) -> None:
        shown = " ".join(subject.split())
        decision = LineDecision(place=place, subject=shown, outcome=outcome, explanation=explanation)
        self.decisions.append(decision)
