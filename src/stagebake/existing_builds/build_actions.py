"""Find the steps of a workflow that build an image. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from stagebake.existing_builds.docker_commands import find_docker_builds
from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild, JobContext
from stagebake.existing_builds.expressions import KnownValues
from stagebake.existing_builds.github_workflow import Workflow, WorkflowJob, WorkflowStep
from stagebake.existing_builds.yaml_nodes import YamlNode

BUILD_ACTION = "docker/build-push-action"
BAKE_ACTION = "docker/bake-action"

# Inputs of docker/build-push-action that are lists; of these, commas separate the values of the first kind, too
_COMMA_LISTS = {"allow", "no-cache-filters", "platforms", "tags", "add-hosts"}
_LINE_LISTS = {
    "annotations",
    "attests",
    "build-args",
    "build-contexts",
    "cache-from",
    "cache-to",
    "labels",
    "outputs",
    "secret-envs",
    "secret-files",
    "secrets",
    "ssh",
    "ulimit",
}


def find_workflow_builds(workflow: Workflow, repository: str | None) -> Iterator[ExistingBuild]:
    """Yield the builds of a workflow, in its order. `repository` is OWNER/NAME, None where it is unknown."""
    for job in workflow.jobs:
        for step in job.steps:
            known = KnownValues(env=workflow.read_env(job, step), repository=repository)
            context = JobContext(workflow=workflow, job=job, step=step, known=known)
            yield from _find_step_builds(context)
        yield from _find_called_workflow(workflow, job)


def _find_step_builds(context: JobContext) -> Iterator[ExistingBuild]:
    step = context.step
    if step.action == BUILD_ACTION:
        yield _read_build_action(context)
    elif step.action == BAKE_ACTION:
        yield ExistingBuild(
            place=context.place,
            kind=BAKE_ACTION,
            inputs={},
            context=context,
            problem="it builds the targets of a bake file: run `stagebake init --from FILE.hcl`",
        )
    elif step.script:
        yield from find_docker_builds(context)


def _find_called_workflow(workflow: Workflow, job: WorkflowJob) -> Iterator[ExistingBuild]:
    """Yield a job that calls another workflow whose name speaks of images: its text is in another repository."""
    called = job.node.find_field("uses")
    if not called.text or not any(word in called.text.lower() for word in ("docker", "image", "container")):
        return
    place = f"{workflow.path}:{called.line}"
    problem = f"it calls the workflow {called.text}: copy that workflow's build step into this repository"
    yield ExistingBuild(place=place, kind="called workflow", inputs={}, problem=problem)


def _read_build_action(context: JobContext) -> ExistingBuild:
    inputs = {}
    for name, node in context.step.node.find_field("with").fields.items():
        values = tuple(context.known.replace_known(value) for value in split_input(name, node))
        if values:
            inputs[name] = BuildInput(place=f"{context.workflow.path}:{node.line}", values=values)
    return ExistingBuild(
        place=context.place,
        kind=BUILD_ACTION,
        inputs=inputs,
        context=context,
        problem=_find_problem(context.step, context.job),
    )


def _find_problem(step: WorkflowStep, job: WorkflowJob) -> str:
    """Return why a step cannot be taken over: it builds several images."""
    matrix = job.node.find_field("strategy", "matrix")
    if not matrix.line:
        return ""
    if "matrix." in step.source:
        several = f"the matrix in line {matrix.line} makes several builds of it"
        return f"{several}: give each image its own folder (docs/adopting.md)"
    return ""


def split_input(name: str, node: YamlNode) -> list[str]:
    """Return the values of an input as the action reads it: one in each line, and for some lists between commas.

    A value that contains a comma or a line end is in quotes, as in CSV (docker/actions-toolkit, src/util.ts, getList).
    """
    if name not in _COMMA_LISTS | _LINE_LISTS:
        return [node.text.strip()] if node.text.strip() else []
    values: list[str] = []
    for row in csv.reader(node.text.splitlines(), skipinitialspace=True):
        parts = row if name in _COMMA_LISTS else [",".join(row)]
        values += [part.strip() for part in parts if part.strip()]
    return values
