"""Decide about the image name, tags and labels of an existing build. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild
from stagebake.existing_builds.expressions import has_expression, has_shell_variable
from stagebake.existing_builds.github_workflow import WorkflowStep
from stagebake.migration.decisions import TakeoverDraft

METADATA_ACTION = "docker/metadata-action"

# Seen under this version in several public repositories
_PINNED_ACTION = f"{METADATA_ACTION}@c299e40c65443455700f0fdfc63efafe5b349051  # v5.10.0"

_STEP_OUTPUT = re.compile(r"\$\{\{\s*steps\.(?P<id>[\w-]+)\.outputs\.(?P<name>[\w-]+)\s*\}\}")
_REF = re.compile(r"(?P<image>(?:\$\{\{.*?\}\}|[^:@\s])+(?::\d+/(?:\$\{\{.*?\}\}|[^:@\s])+)?)(?::(?P<tag>.+))?")
_FIRST_REGISTRY = re.compile(r"[^/]*[.:][^/]*|localhost")

# Rules of docker/metadata-action whose tags stagebake makes by itself
_BUILT_IN_RULES = {
    "type=raw,value=latest,enable={{is_default_branch}}",
    "type=sha,prefix={{branch}}-",
    "type=ref,event=pr",
}


@dataclass(frozen=True, kw_only=True)
class MetadataUse:
    """Step of docker/metadata-action that names the image: its `id`, and whether its tags are used, or only its labels.

    `source` is the text of a step to add; it is empty where the workflow has the step already.
    """

    id: str
    tags: bool
    source: str = ""


def decide_names(draft: TakeoverDraft, build: ExistingBuild, default_image: str | None) -> MetadataUse | None:
    """Decide about image, tags and labels. Return the step of docker/metadata-action that the workflow needs."""
    metadata = _find_metadata_step(build)
    if metadata is not None:
        return _use_metadata_step(draft, build, metadata, default_image)
    return _read_explicit_names(draft, build, default_image)


def _find_metadata_step(build: ExistingBuild) -> WorkflowStep | None:
    """Return the step whose outputs are the build's tags or labels."""
    if build.context is None:
        return None
    texts = [*build.list_values("tags"), *build.list_values("labels")]
    names = {found["id"] for text in texts for found in _STEP_OUTPUT.finditer(text)}
    for step in build.context.job.steps:
        if step.id in names and step.action == METADATA_ACTION:
            return step
    return None


def _use_metadata_step(
    draft: TakeoverDraft, build: ExistingBuild, step: WorkflowStep, default_image: str | None
) -> MetadataUse:
    context = build.context
    path = context.workflow.path if context else ""
    known = context.known.replace_known if context else str
    images = [line.strip() for line in known(step.find_input("images").text).splitlines() if line.strip()]
    if images:
        place = f"{path}:{step.find_input('images').line}"
        _take_image(draft, place, f"images: {', '.join(images)}", images[0], default_image)
    rules = [line.strip() for line in step.find_input("tags").text.splitlines() if line.strip()]
    place = f"{path}:{step.find_input('tags').line or step.line}"
    is_built_in = bool(rules) and len(images) == 1 and set(rules) <= _BUILT_IN_RULES
    if is_built_in and not step.find_input("flavor").line:
        draft.replace(place, f"tags: {', '.join(rules)}", "`latest` for the default branch, BRANCH-SHA, pr-NUMBER")
    else:
        draft.take(place, f"tags: {', '.join(rules) or 'the defaults'}", f"the step `{step.id}` names pushed images")
        is_built_in = False
    draft.take(f"{path}:{step.line}", "labels", f"the step `{step.id}` stays, and its labels are used")
    return MetadataUse(id=step.id, tags=not is_built_in)


def _take_image(draft: TakeoverDraft, place: str, subject: str, image: str, default_image: str | None) -> None:
    """Take the name of the image as a setting, or as a variable of the workflow where a run alone knows it."""
    name = _add_registry(image.removeprefix("name=").partition(",")[0])
    if has_expression(name):
        draft.variables["STAGEBAKE_IMAGE"] = name
        draft.take(place, subject, "STAGEBAKE_IMAGE in the workflow; give `image` for builds outside of it")
    elif name.lower() == default_image:
        draft.take(place, subject, f"{default_image}, the repository's own name")
    else:
        draft.settings["image"] = name.lower()
        draft.take(place, subject, "setting `image`")


def _add_registry(image: str) -> str:
    """Return the name with its registry: one without a registry is Docker Hub's (distribution/reference)."""
    first, slash, _ = image.partition("/")
    if has_expression(first) and not slash:
        return image
    if slash and (_FIRST_REGISTRY.fullmatch(first) or has_expression(first)):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _read_explicit_names(draft: TakeoverDraft, build: ExistingBuild, default_image: str | None) -> MetadataUse | None:
    """Take tags and labels that are written out: a new step of docker/metadata-action makes the same."""
    given = build.inputs.get("tags")
    labels = build.inputs.get("labels")
    rules: list[str] = []
    images: list[str] = []
    if given is not None:
        for ref in given.values:
            image, rule = _read_ref(draft, given, ref, is_workflow=build.context is not None)
            images += [image] if image and image not in images else []
            rules += [rule] if rule and rule not in rules else []
        if images:
            _take_image(draft, given.place, f"tags: {images[0]}", images[0], default_image)
    if build.context is None:
        _leave_labels(draft, labels)
        return None
    if labels is not None:
        draft.take(labels.place, f"labels: {', '.join(labels.values)}", "the new step `meta` sets them")
    only_latest = rules == [_latest_rule()]
    if (not rules or only_latest) and labels is None and len(images) < 2:
        return None
    source = _metadata_source([_add_registry(image) for image in images], rules, labels)
    return MetadataUse(id="meta", tags=not only_latest and bool(rules), source=source)


def _read_ref(draft: TakeoverDraft, given: BuildInput, ref: str, *, is_workflow: bool) -> tuple[str, str]:
    """Return the image and the metadata rule of one tag; empty texts for one that cannot be taken."""
    found = _REF.fullmatch(ref)
    subject = f"tags: {ref}"
    if found is None or has_shell_variable(ref):
        draft.leave(given.place, subject, "it is known only in a run; give the setting `image`")
        return "", ""
    tag = found["tag"] or "latest"
    if tag == "latest":
        draft.replace(given.place, subject, "`latest` is the default branch's newest image, and of no other branch")
        return found["image"], _latest_rule()
    if not is_workflow:
        draft.replace(given.place, subject, "the tags are `latest` for the default branch and BRANCH-SHA")
        return found["image"], ""
    draft.take(given.place, subject, "the new step `meta` makes this tag for pushes")
    return found["image"], f"type=raw,value={tag}"


def _latest_rule() -> str:
    return "type=raw,value=latest,enable={{is_default_branch}}"


def _leave_labels(draft: TakeoverDraft, labels: BuildInput | None) -> None:
    if labels is not None:
        explanation = "use docker/metadata-action in the workflow, or LABEL in the Dockerfile"
        draft.leave(labels.place, f"labels: {', '.join(labels.values)}", explanation)


def _metadata_source(images: Sequence[str], rules: Sequence[str], labels: BuildInput | None) -> str:
    """Return the text of a step that makes these tags and labels."""
    lists = {"images": images, "tags": rules, "labels": labels.values if labels else ()}
    lines = [f"- uses: {_PINNED_ACTION}", "  id: meta", "  with:"]
    if rules:
        lines.append("    flavor: latest=false")
    for name, values in lists.items():
        if values:
            lines.append(f"    {name}: |")
            lines.append(textwrap.indent("\n".join(values), " " * 6))
    return "\n".join(lines) + "\n"
