"""Take over what surrounds the build in its workflow: triggers, runner, permissions, and the other steps. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stagebake.existing_builds.existing_build import ExistingBuild, JobContext
from stagebake.existing_builds.expressions import has_expression
from stagebake.existing_builds.github_workflow import WorkflowStep
from stagebake.existing_builds.yaml_nodes import YamlNode
from stagebake.migration.decisions import TakeoverDraft
from stagebake.migration.image_names import METADATA_ACTION, MetadataUse

# Actions of the existing job that the new workflow has by itself
_OWN_ACTIONS = {
    "docker/build-push-action": "stagebake builds and pushes",
    "docker/setup-buildx-action": "the workflow has this step",
    "docker/setup-qemu-action": "the workflow has this step where `platforms` needs it",
}
_CHECKOUT = "actions/checkout"
_LOGIN = "docker/login-action"
_CACHE_ACTIONS = ("actions/cache", "actions/cache/restore", "actions/cache/save")
_OLD_CACHE = re.compile(r"buildx-cache|\.buildx|docker-cache", re.IGNORECASE)
_DOCKER_SCRIPT = re.compile(r"\bdocker\s+(?:image\s+)?(?:push|build|buildx)\b")
_DOCKER_COMMAND = re.compile(r"docker\s+(?:image\s+|buildx\s+)?(?:build|push|tag|b)\b|set\s+-")
_LOCAL_IMAGE = re.compile(r"\bdocker\s+(?:run|tag|save|history|inspect|scout)\b")
_GITHUB_TOKEN = re.compile(r"\$\{\{\s*(?:secrets\.GITHUB_TOKEN|github\.token)\s*\}\}")
_STEP_REFERENCE = re.compile(r"\bsteps\.(?P<id>[\w-]+)")

_RUNNER = "ubuntu-24.04"
_UNTRUSTED_TRIGGERS = {"pull_request_target", "workflow_run", "issue_comment"}
_OWN_PERMISSIONS = {"contents": "read", "packages": "write"}
_OWN_INPUTS = ("branch", "push", "force")
_JOB_KEYS: Mapping[str, str] = {
    "concurrency": "the workflow runs one build of a branch at a time",
    "timeout-minutes": "it follows from `budgets.full`",
    "name": "the job is called Build",
}
_LEFT_KEYS: Mapping[str, str] = {
    "container": "the build needs the runner's Docker",
    "if": "edit the `if` of the job `build`",
    "needs": "add the job it needs, and `needs` to the job `build`",
    "outputs": "the job `build` has the outputs digest, tags and rebuilt",
    "services": "add them to the job `build`",
    "strategy": "one workflow builds one image",
}


@dataclass(frozen=True, kw_only=True)
class WorkflowParts:
    """Parts of the existing workflow that the new one takes over. All texts are YAML without indentation.

    `variables` is the environment of the build step; `environment` is that of the whole workflow.
    """

    branches: tuple[str, ...] = ()
    builds_pull_requests: bool = True
    runner: str = _RUNNER
    crons: tuple[str, ...] = ()
    push_filters: str = ""
    pull_request_filters: str = ""
    triggers: str = ""
    inputs: str = ""
    environment: str = ""
    permissions: str = ""
    job: str = ""
    checkout: str = ""
    steps_before: str = ""
    steps_after: str = ""
    log_in_to_ghcr: bool = True
    metadata: MetadataUse | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def decide_workflow(draft: TakeoverDraft, build: ExistingBuild, metadata: MetadataUse | None) -> WorkflowParts:
    """Decide about all lines around the build; return what the new workflow takes over."""
    context = build.context
    if context is None:
        return WorkflowParts(variables=draft.variables)
    triggers = _decide_triggers(draft, context)
    steps = _StepTakeover(draft, context, metadata)
    steps.decide_steps()
    job = _decide_job(draft, context)
    permissions = _decide_permissions(draft, context)
    _leave_other_jobs(draft, context)
    return WorkflowParts(
        branches=triggers.branches,
        builds_pull_requests=triggers.builds_pull_requests,
        crons=triggers.crons,
        push_filters=triggers.push_filters,
        pull_request_filters=triggers.pull_request_filters,
        triggers=triggers.others,
        inputs=triggers.inputs,
        runner=_decide_runner(draft, context),
        environment=_take_environment(draft, context),
        permissions=permissions,
        job=job,
        checkout=steps.checkout,
        steps_before=steps.before + (metadata.source if metadata else ""),
        steps_after=steps.after,
        log_in_to_ghcr=steps.log_in_to_ghcr,
        metadata=metadata,
        variables=draft.variables,
    )


@dataclass(kw_only=True)
class _Triggers:
    builds_pull_requests: bool
    branches: tuple[str, ...] = ()
    crons: tuple[str, ...] = ()
    push_filters: str = ""
    pull_request_filters: str = ""
    others: str = ""
    inputs: str = ""


def _decide_triggers(draft: TakeoverDraft, context: JobContext) -> _Triggers:
    """Take the events that start the workflow."""
    workflow = context.workflow
    node = workflow.node.find_field("on")
    place = f"{workflow.path}:{node.line}"
    events = (*node.list_words(), *node.fields)
    triggers = _Triggers(builds_pull_requests="pull_request" in events)
    if not triggers.builds_pull_requests:
        draft.replace(place, "on: no pull_request", "no pull request is built; `init --from none` writes one that does")
    for event in node.list_words():
        if event not in ("push", "pull_request", "workflow_dispatch"):
            draft.leave(place, f"on: {event}", "add it to `on`")
    for event, body in node.fields.items():
        _decide_event(draft, context, triggers, event, body)
    triggers.branches = _decide_branches(draft, context, has_push="push" in events)
    return triggers


def _decide_branches(draft: TakeoverDraft, context: JobContext, *, has_push: bool) -> tuple[str, ...]:
    """Return the patterns of branches whose pushes are built (docs.github.com, "on.push.<branches|tags>")."""
    node = context.workflow.node.find_field("on")
    push = node.find_field("push")
    place = f"{context.workflow.path}:{push.line or node.line}"
    ignored = push.find_field("branches-ignore").list_words()
    branches = push.find_field("branches").list_words()
    if branches:
        draft.take(place, f"branches: {', '.join(branches)}", "the same branches, and the default branch")
    elif ignored:
        branches = ("**", *(f"!{branch}" for branch in ignored))
        draft.take(place, f"branches-ignore: {', '.join(ignored)}", "all branches but these")
    elif has_push and not push.find_field("tags").line:
        branches = ("**",)
        draft.take(place, "on: push", "all branches")
    else:
        draft.replace(
            place, "on: no push to a branch", "pushes to the default branch are built: others read its caches"
        )
    return branches


def _decide_event(draft: TakeoverDraft, context: JobContext, triggers: _Triggers, event: str, body: YamlNode) -> None:
    """Take one event with its filters or inputs."""
    workflow = context.workflow
    place = f"{workflow.path}:{body.line}"
    match event:
        case "push":
            triggers.push_filters = _take_filters(draft, context, event, without=("branches", "branches-ignore"))
        case "pull_request":
            triggers.pull_request_filters = _take_filters(draft, context, event, without=("types",))
        case "workflow_dispatch":
            triggers.inputs = _take_inputs(draft, context)
        case "schedule":
            triggers.crons = tuple(entry.find_field("cron").text for entry in body.entries)
            draft.take(place, f"schedule: {', '.join(triggers.crons)}", "a scheduled run builds without caches")
        case _ if event in _UNTRUSTED_TRIGGERS:
            draft.leave(place, f"on: {event}", "it may build a stranger's code with this repository's rights")
        case _:
            lines = workflow.source_of(body) if body.fields or body.entries else ""
            triggers.others += f"{event}:\n{_indent(lines, 2)}"
            draft.take(place, f"on: {event}", "the same trigger; docs/events.md says what it may push")


def _take_filters(draft: TakeoverDraft, context: JobContext, event: str, *, without: tuple[str, ...]) -> str:
    """Return the filters of an event, such as `paths`."""
    workflow = context.workflow
    lines = ""
    for name, node in workflow.node.find_field("on", event).fields.items():
        place = f"{workflow.path}:{node.line}"
        words = node.list_words()
        if name in without:
            if name == "types":
                draft.replace(place, f"{event} types: {', '.join(words)}", "opened, synchronize, reopened and closed")
            continue
        lines += f"{name}:\n" + "".join(f"  - {_quote(word)}\n" for word in words)
        draft.take(place, f"{event} {name}: {', '.join(words)}", "the same filter")
    return lines


def _quote(text: str) -> str:
    """Return a YAML scalar in single quotes; one of several lines in double quotes."""
    if "\n" in text:
        return json.dumps(text, ensure_ascii=False)
    return "'" + text.replace("'", "''") + "'"


def _take_inputs(draft: TakeoverDraft, context: JobContext) -> str:
    """Return the inputs of a run by hand that the new workflow does not have by itself."""
    workflow = context.workflow
    lines = ""
    for name, node in workflow.node.find_field("on", "workflow_dispatch", "inputs").fields.items():
        place = f"{workflow.path}:{node.line}"
        if name in _OWN_INPUTS:
            draft.replace(place, f"input {name}", "the workflow has this input")
            continue
        body = workflow.source_of(node) if node.fields else ""
        lines += f"{name}:\n{_indent(body, 2)}"
        draft.take(place, f"input {name}", "the same input")
    return lines


def _decide_runner(draft: TakeoverDraft, context: JobContext) -> str:
    node = context.job.node.find_field("runs-on")
    place = f"{context.workflow.path}:{node.line}"
    words = node.list_words()
    shown = ", ".join(words) or "group"
    if not words or has_expression(shown):
        draft.leave(place, f"runs-on: {shown}", f"the job runs on {_RUNNER}; edit `runs-on`")
        return _RUNNER
    if words == ("ubuntu-latest",):
        draft.take(place, f"runs-on: {shown}", f"{_RUNNER}, which does not change by itself")
        return _RUNNER
    draft.take(place, f"runs-on: {shown}", "the same runner")
    return shown if len(words) == 1 else f"[{', '.join(words)}]"


def _decide_job(draft: TakeoverDraft, context: JobContext) -> str:
    """Return lines for the job; note those that are built in or left out."""
    lines = ""
    for key, node in context.job.node.fields.items():
        place = f"{context.workflow.path}:{node.line}"
        if key in _JOB_KEYS:
            draft.replace(place, f"job {key}", _JOB_KEYS[key])
        elif key in _LEFT_KEYS:
            draft.leave(place, f"job {key}", _LEFT_KEYS[key])
        elif key == "environment":
            body = node.text or ""
            lines += (
                f"environment: {body}\n" if body else f"environment:\n{_indent(context.workflow.source_of(node), 2)}"
            )
            draft.take(place, f"environment: {body or 'table'}", "the same environment")
    return lines


def _decide_permissions(draft: TakeoverDraft, context: JobContext) -> str:
    """Return the permissions that the new job does not have by itself."""
    lines = ""
    for node in (context.workflow.node.find_field("permissions"), context.job.node.find_field("permissions")):
        place = f"{context.workflow.path}:{node.line}"
        if node.text:
            draft.replace(place, f"permissions: {node.text}", "the job has `contents: read` and `packages: write`")
        for name, value in node.fields.items():
            subject = f"permissions: {name}: {value.text}"
            place = f"{context.workflow.path}:{value.line}"
            if name in _OWN_PERMISSIONS and value.text in (_OWN_PERMISSIONS[name], "read"):
                draft.replace(place, subject, "the job has it")
            elif name == "contents":
                draft.leave(place, subject, "the job has `contents: read`; a step that writes needs a job of its own")
            elif f"{name}:" not in lines:
                lines += f"{name}: {value.text}\n"
                draft.take(place, subject, "the same permission")
    return lines


def _take_environment(draft: TakeoverDraft, context: JobContext) -> str:
    """Return the variables of workflow and job; steps that are taken over may need them."""
    for node in (context.workflow.node, context.job.node):
        env = node.find_field("env")
        if env.fields:
            names = ", ".join(env.fields)
            draft.take(f"{context.workflow.path}:{env.line}", f"env: {names}", "the same variables")
    variables = context.workflow.read_env(context.job)
    return "".join(f"{name}: {_quote(value)}\n" for name, value in variables.items())


def _leave_other_jobs(draft: TakeoverDraft, context: JobContext) -> None:
    for job in context.workflow.jobs:
        if job.name != context.job.name:
            explanation = "copy it into the new workflow; the job that it may need is now `build`"
            draft.leave(f"{context.workflow.path}:{job.line}", f"job {job.name}", explanation)


class _StepTakeover:
    """Decide about the steps of the job: which ones come before the build, and which after it."""

    def __init__(self, draft: TakeoverDraft, context: JobContext, metadata: MetadataUse | None) -> None:
        self._draft = draft
        self._context = context
        self._metadata = metadata
        self._dropped: set[str] = set()
        self.before = ""
        self.after = ""
        self.checkout = ""
        self.log_in_to_ghcr = not any(_is_login_elsewhere(step) for step in context.job.steps)

    def decide_steps(self) -> None:
        """Decide about all steps, in their order."""
        build_step = self._context.step
        is_after = False
        for step in self._context.job.steps:
            if step is build_step:
                is_after = True
                self._dropped.add(step.id)
                continue
            self._decide_step(step, is_after=is_after)

    def _decide_step(self, step: WorkflowStep, *, is_after: bool) -> None:
        reason = self._find_own(step)
        place = f"{self._context.workflow.path}:{step.line}"
        if reason:
            self._dropped.add(step.id)
            self._draft.replace(place, _describe_step(step), reason)
            return
        if step.action == _CHECKOUT:
            self._take_checkout(step)
            return
        source = self._refer_to_build(step.source)
        self._draft.take(place, _describe_step(step), self._explain_step(step, source))
        if is_after:
            self.after += source
        else:
            self.before += source

    def _find_own(self, step: WorkflowStep) -> str:
        """Return why the new workflow does not need a step; an empty text where it does."""
        if step.action in _OWN_ACTIONS:
            return _OWN_ACTIONS[step.action]
        if step.action == _LOGIN and _is_ghcr_login(step):
            self.log_in_to_ghcr = True
            return "the workflow logs in to ghcr.io"
        if step.action == METADATA_ACTION and (self._metadata is None or step.id != self._metadata.id):
            return "stagebake names the image"
        if _OLD_CACHE.search(step.source) and (step.action in _CACHE_ACTIONS or step.script):
            return "each stage has its own cache beside the image"
        if step.script and _DOCKER_SCRIPT.search(step.script) and _has_only_docker(step.script):
            return "stagebake builds and pushes"
        return ""

    def _take_checkout(self, step: WorkflowStep) -> None:
        place = f"{self._context.workflow.path}:{step.line}"
        kept = ""
        for name, node in step.node.find_field("with").fields.items():
            if name not in ("ref", "persist-credentials") and node.text:
                kept += f"{name}: {_quote(node.text)}\n"
        self.checkout = kept
        names = ", ".join(line.partition(":")[0] for line in kept.splitlines())
        explanation = f"the workflow checks out, with the same {names}" if names else "the workflow checks out"
        self._draft.replace(place, _describe_step(step), explanation)

    def _refer_to_build(self, source: str) -> str:
        """Return the text of a step that refers to the build by its new name."""
        old = self._context.step.id
        if not old:
            return source
        return re.sub(rf"\bsteps\.{re.escape(old)}\.outputs\.digest\b", "steps.build.outputs.digest", source)

    def _explain_step(self, step: WorkflowStep, source: str) -> str:
        missing = {found["id"] for found in _STEP_REFERENCE.finditer(source)} & self._dropped - {"", "build"}
        if missing:
            return f"the same step; correct it, because it refers to the step {', '.join(sorted(missing))}"
        if step.script and _LOCAL_IMAGE.search(step.script):
            return "the same step; if it needs the image in the runner's engine, pull it first"
        return "the same step"


def _describe_step(step: WorkflowStep) -> str:
    name = step.node.find_field("name").text
    return f"step {name or step.action or step.script.strip().partition(chr(10))[0]}"


def _is_ghcr_login(step: WorkflowStep) -> bool:
    """Return True for the login that the new workflow has; the registry may be in a variable."""
    return bool(_GITHUB_TOKEN.fullmatch(step.find_input("password").text.strip()))


def _is_login_elsewhere(step: WorkflowStep) -> bool:
    return step.action == _LOGIN and not _is_ghcr_login(step)


def _has_only_docker(script: str) -> bool:
    """Return True for a script that does nothing but build, tag and push."""
    joined = re.sub(r"\\\n", " ", script)
    commands = [command.strip() for command in re.split(r"&&|\|\|?|;|\n", joined)]
    others = [command for command in commands if command and not command.startswith("#")]
    return all(_DOCKER_COMMAND.match(command) for command in others)


def _indent(text: str, columns: int) -> str:
    return "".join(f"{' ' * columns}{line}\n" if line else "\n" for line in text.splitlines())
