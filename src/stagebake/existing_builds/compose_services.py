"""Read the services of a compose file that build an image (compose-spec, build.md). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild, merge_inputs
from stagebake.existing_builds.yaml_nodes import YamlNode, parse_yaml

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")

# Keys of `build` that are the action's inputs under another name
_NAMES = {
    "additional_contexts": "build-contexts",
    "args": "build-args",
    "cache_from": "cache-from",
    "cache_to": "cache-to",
    "context": "context",
    "dockerfile": "file",
    "dockerfile_inline": "dockerfile-inline",
    "entitlements": "allow",
    "extra_hosts": "add-hosts",
    "labels": "labels",
    "network": "network",
    "no_cache": "no-cache",
    "platforms": "platforms",
    "privileged": "privileged",
    "provenance": "provenance",
    "pull": "pull",
    "sbom": "sbom",
    "secrets": "secrets",
    "shm_size": "shm-size",
    "ssh": "ssh",
    "tags": "tags",
    "target": "target",
    "ulimits": "ulimit",
}


def find_compose_builds(path: str, text: str) -> Iterator[tuple[str, ExistingBuild]]:
    """Yield the services with a `build`, by name. Raise InvalidYaml."""
    root = parse_yaml(text)
    secrets = root.find_field("secrets").fields
    for name, service in root.find_field("services").fields.items():
        build = service.find_field("build")
        if not build.line:
            continue
        place = f"{path}:{build.line}"
        pairs = list(_read_build(path, build, secrets))
        image = service.find_field("image")
        if image.text:
            pairs.append(("tags", BuildInput(place=f"{path}:{image.line}", values=(image.text,))))
        inputs = merge_inputs(pairs)
        problem = "the Dockerfile is part of the compose file" if "dockerfile-inline" in inputs else ""
        yield name, ExistingBuild(place=place, kind=f"compose service {name}", inputs=inputs, problem=problem)


def _read_build(path: str, build: YamlNode, secrets: Mapping[str, YamlNode]) -> Iterator[tuple[str, BuildInput]]:
    if build.text:
        yield "context", BuildInput(place=f"{path}:{build.line}", values=(build.text,))
        return
    for key, node in build.fields.items():
        values = _list_values(node)
        if key == "secrets":
            values = [_describe_secret(value, secrets) for value in values]
        if values:
            yield _NAMES.get(key, key), BuildInput(place=f"{path}:{node.line}", values=tuple(values))


def _list_values(node: YamlNode) -> list[str]:
    """Return a scalar, a list, or a table as `KEY=VALUE`; a key without a value stays alone."""
    if node.fields:
        return [f"{key}={value.text}" if value.text else key for key, value in node.fields.items()]
    return list(node.list_words())


def _describe_secret(name: str, secrets: Mapping[str, YamlNode]) -> str:
    """Return a secret of the compose file as buildx writes it."""
    declared = secrets.get(name)
    if declared is None:
        return f"id={name}"
    variable = declared.find_field("environment").text
    file = declared.find_field("file").text
    if variable:
        return f"id={name},env={variable}"
    return f"id={name},src={file}" if file else f"id={name}"
