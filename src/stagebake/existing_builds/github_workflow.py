"""Read a GitHub workflow into jobs and steps that know their lines. Pure.

The keys are those of docs.github.com, "Workflow syntax for GitHub Actions".
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from stagebake.existing_builds.yaml_nodes import YamlNode, parse_yaml


@dataclass(frozen=True, kw_only=True)
class WorkflowStep:
    """Step of a job; `source` is its text without indentation, as it begins with `- `."""

    line: int
    node: YamlNode
    source: str

    @property
    def action(self) -> str:
        """Name of the action without its version, in small letters; empty for a step that runs a script."""
        return self.node.find_field("uses").text.partition("@")[0].lower()

    @property
    def script(self) -> str:
        """Text of `run`."""
        return self.node.find_field("run").text

    @property
    def id(self) -> str:
        """Name by which other steps refer to this one."""
        return self.node.find_field("id").text

    def find_input(self, name: str) -> YamlNode:
        """Return an input of the action; an empty node where it is missing."""
        return self.node.find_field("with", name)


@dataclass(frozen=True, kw_only=True)
class WorkflowJob:
    """Job of a workflow."""

    name: str
    line: int
    node: YamlNode
    steps: tuple[WorkflowStep, ...]


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """Workflow file; `path` is relative to the repository."""

    path: str
    text: str
    node: YamlNode
    jobs: tuple[WorkflowJob, ...]

    def read_env(self, job: WorkflowJob, step: WorkflowStep | None = None) -> Mapping[str, str]:
        """Return the variables of a step: those of the workflow, of the job and of the step itself."""
        nodes = [self.node, job.node, *([step.node] if step else [])]
        env: dict[str, str] = {}
        for node in nodes:
            for name, value in node.find_field("env").fields.items():
                env[name] = value.text
        return env

    def source_of(self, node: YamlNode) -> str:
        """Return the lines of a node without indentation, its key, and comments and empty lines at its end."""
        lines = self.text.splitlines()
        key = lines[node.line - 1][: node.column]
        lines[node.line - 1] = " " * len(key) + lines[node.line - 1][node.column :]
        return _cut_lines("\n".join(lines), node.line, node.end)


def parse_workflow(path: str, text: str) -> Workflow:
    """Return the workflow in a text. Raise InvalidYaml."""
    root = parse_yaml(text)
    jobs = []
    for name, node in root.find_field("jobs").fields.items():
        steps = tuple(_read_step(entry, text) for entry in node.find_field("steps").entries)
        jobs.append(WorkflowJob(name=name, line=node.line - 1, node=node, steps=steps))
    return Workflow(path=path, text=text, node=root, jobs=tuple(jobs))


def _read_step(node: YamlNode, text: str) -> WorkflowStep:
    return WorkflowStep(line=node.line, node=node, source=_cut_lines(text, node.line, node.end))


def _cut_lines(text: str, first: int, last: int) -> str:
    lines = text.splitlines()[first - 1 : last]
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return textwrap.dedent("\n".join(lines) + "\n") if lines else ""
