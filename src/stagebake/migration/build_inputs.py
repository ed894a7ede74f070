"""Decide about the inputs of an existing build: context, Dockerfile, arguments, secrets, and the rest. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild
from stagebake.existing_builds.expressions import has_expression, has_secret, has_shell_variable, secret_name
from stagebake.migration.decisions import TakeoverDraft

_Handler = Callable[[TakeoverDraft, str, BuildInput], None]

_NETWORKS = ("default", "host", "none")
_DEFAULT_CONTEXT = "{{defaultContext}}"
_VARIABLE = re.compile(r"\W+")

# Inputs that stagebake does in its own way, and how
_BUILT_IN: Mapping[str, str] = {
    "cache-from": "each stage has its own cache beside the image",
    "cache-to": "each stage has its own cache beside the image",
    "pull": "each build asks the registry for the base images' digests",
    "builder": "docker/setup-buildx-action makes the builder",
    "quiet": "the build reports stages, reasons and times",
    "progress": "the build reports stages, reasons and times",
    "--progress": "the build reports stages, reasons and times",
    "-q": "the build reports stages, reasons and times",
    "--quiet": "the build reports stages, reasons and times",
    "--rm": "BuildKit keeps no containers",
    "--force-rm": "BuildKit keeps no containers",
    "metadata-file": "use `--report FILE.json`",
    "iidfile": "use `--report FILE.json`; it has the digest",
    "github-token": "BuildKit fetches no private context",
}
_LEFT: Mapping[str, str] = {
    "load": "`nox -s build` without --push loads the image; the workflow pushes it",
    "outputs": "the workflow pushes an image; for other outputs use docker-bake.override.hcl",
    "no-cache": "run the workflow by hand with `force`, or `nox -s build -- --no-cache`",
    "no-cache-filters": "run the workflow by hand with `force`, or `nox -s build -- --no-cache STAGE`",
    "cgroup-parent": "bake has no such attribute",
    "call": "`stagebake doctor` shows BuildKit's build checks",
}
# Bake attributes, written into docker-bake.override.hcl
_ATTRIBUTES: Mapping[str, str] = {
    "add-hosts": "extra-hosts",
    "allow": "entitlements",
    "annotations": "annotations",
    "attests": "attest",
    "provenance": "attest",
    "sbom": "attest",
    "shm-size": "shm-size",
    "ulimit": "ulimits",
}


def decide_inputs(draft: TakeoverDraft, build: ExistingBuild) -> None:
    """Decide about all inputs but tags and labels."""
    draft.folder = _working_directory(build)
    _decide_context(draft, build)
    for name, given in build.inputs.items():
        if name in ("context", "file", "tags", "labels"):
            continue
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(draft, name, given)
        elif name in _BUILT_IN:
            draft.replace(given.place, f"{name}: {_show_values(given)}", _BUILT_IN[name])
        elif name in _ATTRIBUTES:
            _take_attribute(draft, name, given)
        else:
            reason = _LEFT.get(name, "stagebake does not know it; if bake does, use docker-bake.override.hcl")
            draft.leave(given.place, f"{name}: {_show_values(given)}", reason)


def _show_values(given: BuildInput) -> str:
    """Return the values for people. The value of a secret cannot be in it: a workflow has only its name."""
    return ", ".join(given.values)


def _decide_context(draft: TakeoverDraft, build: ExistingBuild) -> None:
    """Take the context and the Dockerfile, as paths from the root of the repository."""
    given = build.inputs.get("context")
    written = build.find_value("context", ".")
    if given is None:
        draft.replace(build.place, "no context", "the build context is the checkout, with the files of earlier steps")
    context = written
    if written.startswith(_DEFAULT_CONTEXT):
        context = written.removeprefix(_DEFAULT_CONTEXT).lstrip(":") or "."
    is_remote = "://" in context or context.startswith("git@")
    if not is_remote:
        context = posixpath.normpath(posixpath.join(draft.folder, context))
    if has_expression(context) or has_shell_variable(context):
        place = given.place if given else build.place
        draft.leave(place, f"context: {written}", "it is known only in a run; give the setting `context`")
        return
    if context != "." and given is not None:
        draft.add_setting(given.place, f"context: {written}", "context", context)
    elif given is not None:
        draft.take(given.place, f"context: {written}", "the default")
    _decide_dockerfile(draft, build, "." if is_remote else context)


def _working_directory(build: ExistingBuild) -> str:
    """Return the folder in which a script runs; actions run in the root of the repository."""
    if build.context is None or not build.context.step.script:
        return "."
    own = build.context.step.node.find_field("working-directory").text
    return own or build.context.job.node.find_field("defaults", "run", "working-directory").text or "."


def _decide_dockerfile(draft: TakeoverDraft, build: ExistingBuild, context: str) -> None:
    """Take the Dockerfile; compose and bake name it from the context, docker's commands from the folder they run in."""
    given = build.inputs.get("file")
    written = build.find_value("file", "Dockerfile")
    from_context = given is None or build.context is None
    path = posixpath.normpath(posixpath.join(context if from_context else draft.folder, written))
    if path == "Dockerfile":
        if given is not None:
            draft.take(given.place, f"file: {written}", "the default")
        return
    place = given.place if given else build.place
    draft.add_setting(place, f"file: {written}", "dockerfile", path)


def _take_text(key: str) -> _Handler:
    def take(draft: TakeoverDraft, name: str, given: BuildInput) -> None:
        subject = f"{name}: {given.text}"
        if has_expression(given.text):
            draft.leave(given.place, subject, f"it is known only in a run; give the setting `{key}`")
        elif key == "network" and given.text not in _NETWORKS:
            draft.leave(given.place, subject, "BuildKit has no such network for RUN")
        else:
            draft.add_setting(given.place, subject, key, given.text)

    return take


def _take_list(key: str) -> _Handler:
    def take(draft: TakeoverDraft, name: str, given: BuildInput) -> None:
        subject = f"{name}: {_show_values(given)}"
        if has_expression(given.text) or has_shell_variable(given.text):
            draft.leave(given.place, subject, f"it is known only in a run; give the setting `{key}`")
        else:
            draft.add_setting(given.place, subject, key, given.values)

    return take


def _take_arguments(draft: TakeoverDraft, _name: str, given: BuildInput) -> None:
    """Take build arguments as a setting; those known only in a run go into the workflow as STAGEBAKE_ARGS."""
    for value in given.values:
        argument, equals, text = value.partition("=")
        subject = f"build-args: {value}"
        if not equals:
            _take_inherited_argument(draft, given, argument)
        elif has_shell_variable(text):
            draft.leave(given.place, subject, "it is known only to the script; give `args` or set STAGEBAKE_ARGS")
        elif has_expression(text):
            _add_run_argument(draft, argument, text)
            hint = "; a secret in a build argument is in the image's history, use `secrets`" if has_secret(text) else ""
            draft.take(given.place, subject, f"STAGEBAKE_ARGS in the workflow{hint}")
        else:
            draft.add_setting(given.place, subject, "args", {argument: text})


def _take_inherited_argument(draft: TakeoverDraft, given: BuildInput, argument: str) -> None:
    """Take an argument whose value is that of the environment variable of the same name."""
    _add_run_argument(draft, argument, f"${{{{ env.{argument} }}}}")
    draft.take(given.place, f"build-args: {argument}", "STAGEBAKE_ARGS in the workflow, from the variable of that name")


def _add_run_argument(draft: TakeoverDraft, argument: str, text: str) -> None:
    before = draft.variables.get("STAGEBAKE_ARGS", "")
    draft.variables["STAGEBAKE_ARGS"] = f"{before} {argument}='{text}'".strip()


def _take_secrets(draft: TakeoverDraft, _name: str, given: BuildInput) -> None:
    """Take secrets; only their names, and where the workflow has their values."""
    for value in given.values:
        secret, _, text = value.partition("=")
        if secret in ("id", "type"):  # as docker's command writes it
            draft.add_setting(given.place, f"secrets: {value}", "secrets", (_move_source(value, draft.folder),))
            continue
        variable = secret_name(text) or _VARIABLE.sub("_", secret).upper()
        draft.add_setting(given.place, f"secrets: {secret}", "secrets", (f"id={secret},env={variable}",))
        if secret_name(text) is None:
            draft.variables[variable] = text


def _move_source(secret: str, folder: str) -> str:
    """Return a secret whose file is relative to the root of the repository."""
    parts = []
    for part in secret.split(","):
        key, equals, path = part.partition("=")
        if key in ("src", "source") and not path.startswith(("/", "~", "$")):
            path = posixpath.normpath(posixpath.join(folder, path))
        parts.append(f"{key}{equals}{path}")
    return ",".join(parts)


def _take_push(draft: TakeoverDraft, _name: str, given: BuildInput) -> None:
    subject = f"push: {given.text}"
    if given.text == "false":
        draft.leave(given.place, subject, "the workflow pushes; to push nothing, remove the line with `--push` from it")
    else:
        draft.replace(given.place, subject, "pushes and pull requests of this repository push, those of forks do not")


def _take_secret_variables(draft: TakeoverDraft, _name: str, given: BuildInput) -> None:
    for value in given.values:
        secret, _, variable = value.partition("=")
        draft.add_setting(given.place, f"secret-envs: {value}", "secrets", (f"id={secret},env={variable}",))


def _take_secret_files(draft: TakeoverDraft, _name: str, given: BuildInput) -> None:
    for value in given.values:
        secret, _, path = value.partition("=")
        draft.add_setting(given.place, f"secret-files: {value}", "secrets", (f"id={secret},src={path}",))


def _take_contexts(draft: TakeoverDraft, _name: str, given: BuildInput) -> None:
    for value in given.values:
        context, _, source = value.partition("=")
        subject = f"build-contexts: {value}"
        if has_expression(source) or source.startswith("target:"):
            draft.leave(given.place, subject, "give the setting `contexts` with a fixed source")
        else:
            draft.add_setting(given.place, subject, "contexts", {context: source})


def _take_attribute(draft: TakeoverDraft, name: str, given: BuildInput) -> None:
    """Write what only bake knows into docker-bake.override.hcl."""
    subject = f"{name}: {_show_values(given)}"
    if has_expression(given.text):
        draft.leave(given.place, subject, "it is known only in a run; use docker-bake.override.hcl")
        return
    attribute = _ATTRIBUTES[name]
    draft.override[attribute] = _format_attribute(draft, name, attribute, given)
    draft.take(given.place, subject, f"`{attribute}` in docker-bake.override.hcl")


def _format_attribute(draft: TakeoverDraft, name: str, attribute: str, given: BuildInput) -> str:
    """Return the value of a bake attribute as HCL; JSON's strings and lists are HCL, too."""
    if attribute == "shm-size":
        return json.dumps(given.text)
    if attribute == "extra-hosts":
        pairs = [re.split("[:=]", value, maxsplit=1) for value in given.values]
        lines = [f"{json.dumps(host)} = {json.dumps(address)}" for host, address in pairs]
        return "{ " + ", ".join(lines) + " }"
    values = list(given.values)
    if attribute == "attest":
        if name != "attests":
            values = [_describe_attestation(name, given.text)]
        values = [*json.loads(draft.override.get(attribute, "[]")), *values]
    return json.dumps(values)


def _describe_attestation(name: str, text: str) -> str:
    """Return an attestation as bake writes it, from the action's short form (docker/actions-toolkit, build.ts)."""
    if text == "true":
        return f"type={name}"
    if text == "false":
        return f"type={name},disabled=true"
    return f"type={name},{text}"


_HANDLERS: Mapping[str, _Handler] = {
    "build-args": _take_arguments,
    "build-contexts": _take_contexts,
    "network": _take_text("network"),
    "platforms": _take_list("platforms"),
    "push": _take_push,
    "secret-envs": _take_secret_variables,
    "secret-files": _take_secret_files,
    "secrets": _take_secrets,
    "ssh": _take_list("ssh"),
    "target": _take_text("target"),
}
