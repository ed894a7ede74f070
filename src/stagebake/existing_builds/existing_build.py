"""Describe one build of an image that a repository has today. Pure.

All kinds of builds have the input names of docker/build-push-action (its action.yml), so that one table decides what
stagebake takes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stagebake.existing_builds.expressions import KnownValues
from stagebake.existing_builds.github_workflow import Workflow, WorkflowJob, WorkflowStep


@dataclass(frozen=True, kw_only=True)
class BuildInput:
    """Input of a build: its place (file:line), and its values with known variables replaced."""

    place: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return all values as one text."""
        return "\n".join(self.values)


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """Job and step of a workflow that a build belongs to, and what is known of its variables."""

    workflow: Workflow
    job: WorkflowJob
    step: WorkflowStep
    known: KnownValues

    @property
    def place(self) -> str:
        """Return the step's `file:line`."""
        return f"{self.workflow.path}:{self.step.line}"


@dataclass(frozen=True, kw_only=True)
class ExistingBuild:
    """Build of an image: its place (file:line), what makes it (`kind`), and its inputs.

    `context` is None for a build that no workflow contains. `problem` says why the build cannot be taken over.
    """

    place: str
    kind: str
    inputs: Mapping[str, BuildInput]
    context: JobContext | None = None
    problem: str = ""

    def list_values(self, name: str) -> tuple[str, ...]:
        """Return the values of an input, nothing for one that is not given."""
        given = self.inputs.get(name)
        return given.values if given else ()

    def find_value(self, name: str, default: str = "") -> str:
        """Return the value of an input that has one value."""
        return next(iter(self.list_values(name)), default)


def merge_inputs(pairs: Iterable[tuple[str, BuildInput]]) -> dict[str, BuildInput]:
    """Return inputs by name; the values of one that is given several times are joined, under its first place."""
    inputs: dict[str, BuildInput] = {}
    for name, given in pairs:
        first = inputs.get(name)
        values = (*first.values, *given.values) if first else given.values
        inputs[name] = BuildInput(place=first.place if first else given.place, values=values)
    return inputs
