"""Read the targets of a bake file (docs.docker.com, "Bake file reference"). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild

# Attributes that are the action's inputs under another name
_NAMES = {
    "annotations": "annotations",
    "args": "build-args",
    "attest": "attests",
    "cache-from": "cache-from",
    "cache-to": "cache-to",
    "context": "context",
    "contexts": "build-contexts",
    "dockerfile": "file",
    "dockerfile-inline": "dockerfile-inline",
    "entitlements": "allow",
    "extra-hosts": "add-hosts",
    "labels": "labels",
    "network": "network",
    "no-cache": "no-cache",
    "no-cache-filter": "no-cache-filters",
    "output": "outputs",
    "platforms": "platforms",
    "pull": "pull",
    "secret": "secrets",
    "shm-size": "shm-size",
    "ssh": "ssh",
    "tags": "tags",
    "target": "target",
    "ulimits": "ulimit",
}
_VARIABLE = re.compile(r"\$\{(?:var\.)?(?P<name>\w+)\}")
_MOST_PARENTS = 20


class InvalidBakeFile(ValueError):
    """Text that is not a valid bake file."""


def find_bake_builds(path: str, text: str) -> Iterator[tuple[str, ExistingBuild]]:
    """Yield the targets of a bake file by name, each with what it inherits. Raise InvalidBakeFile."""
    document = _parse_document(path, text)
    targets = _merge_blocks(document.get("target"))
    variables = _merge_blocks(document.get("variable"))
    defaults = {name: str(block.get("default", "")) for name, block in variables.items()}
    for name in targets:
        if name.startswith("_"):
            continue
        place = f"{path}:{_find_line(text, name)}"
        inputs = {}
        for key, value in _resolve_target(targets, name).items():
            values = tuple(_replace_variables(word, defaults) for word in _list_values(value))
            if values and key != "inherits":
                inputs[_NAMES.get(key, key)] = BuildInput(place=place, values=values)
        problem = ""
        if "matrix" in inputs:
            problem = "its matrix makes several targets: give each image its own folder (docs/adopting.md)"
        elif "dockerfile-inline" in inputs:
            problem = "the Dockerfile is part of the bake file"
        yield name, ExistingBuild(place=place, kind=f"bake target {name}", inputs=inputs, problem=problem)


def _parse_document(path: str, text: str) -> dict[str, Any]:
    try:
        if path.endswith(".json"):
            document = json.loads(text)
        else:
            import hcl2  # it takes long to import, and only `init` reads a bake file

            document = hcl2.loads(text if text.endswith("\n") else f"{text}\n")
    except Exception as error:  # the parser raises errors of its own library
        raise InvalidBakeFile(str(error).partition("\n")[0]) from None
    if not isinstance(document, dict):
        raise InvalidBakeFile("not a table")
    return document


def _merge_blocks(blocks: Any) -> dict[str, dict[str, Any]]:
    """Return blocks by their labels; python-hcl2 gives a list of tables, and quotes the labels."""
    merged: dict[str, dict[str, Any]] = {}
    for block in blocks if isinstance(blocks, list) else [blocks or {}]:
        for label, body in block.items():
            if isinstance(body, dict):
                merged.setdefault(label.strip('"'), {}).update(body)
    return merged


def _resolve_target(targets: Mapping[str, dict[str, Any]], name: str, depth: int = 0) -> dict[str, Any]:
    """Return the attributes of a target over those that it inherits."""
    own = targets.get(name, {})
    resolved: dict[str, Any] = {}
    if depth < _MOST_PARENTS:
        for parent in _list_values(own.get("inherits", [])):
            resolved.update(_resolve_target(targets, parent, depth + 1))
    resolved.update({key: value for key, value in own.items() if not key.startswith("__")})
    return resolved


def _list_values(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{_plain_text(key)}={_plain_text(item)}" for key, item in value.items() if not key.startswith("__")]
    if isinstance(value, list):
        return [_plain_text(item) for item in value]
    return [_plain_text(value)]


def _plain_text(value: Any) -> str:
    """Return a value without the quotes that python-hcl2 leaves around strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ",".join(f"{_plain_text(key)}={_plain_text(item)}" for key, item in value.items())
    text = str(value)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text


def _replace_variables(text: str, defaults: Mapping[str, str]) -> str:
    """Replace variables that have a default."""

    def replace(found: re.Match[str]) -> str:
        return _plain_text(defaults.get(found["name"], found[0]))

    return _VARIABLE.sub(replace, text)


def _find_line(text: str, target: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if "target" in line and f'"{target}"' in line:
            return number
    return 1
