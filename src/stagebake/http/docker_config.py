"""Read the docker CLI's configuration: config.json and the endpoints of its contexts.

docker/cli, cli/config/config.go and cli/context/store. Go compares the keys of JSON objects without their case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DEFAULT_HOST = "unix:///var/run/docker.sock"
# docker/cli, cli/connhelper: the host of every engine that is reached over ssh
_SSH_HOST = "http://docker.example.com"


def read_docker_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return docker's config.json; empty where it is missing or not valid, or where there is no home directory."""
    return _read_document(environment, "config.json")


def find_engine_host(environment: Mapping[str, str]) -> str:
    """Return the address of the engine that docker talks to: of DOCKER_HOST, else of the current context."""
    host = environment.get("DOCKER_HOST")
    if not host:
        name = environment.get("DOCKER_CONTEXT") or _get_text(read_docker_config(environment), "currentcontext")
        host = _read_endpoint(name, environment) if name not in ("", "default") else _DEFAULT_HOST
    return _SSH_HOST if host.startswith("ssh://") else host


def parse_document(text: str) -> dict[str, Any]:
    """Parse a JSON object; anything else counts as an empty one."""
    try:
        return lower_keys(json.loads(text or "{}"))
    except (ValueError, RecursionError):
        return {}


def lower_keys(value: Any) -> dict[str, Any]:
    """Return a JSON object with its keys in lower case, as Go compares them; empty for anything else."""
    if not isinstance(value, dict):
        return {}
    return {key.lower(): content for key, content in value.items()}


def _read_endpoint(context: str, environment: Mapping[str, str]) -> str:
    """Return the address of a context's engine; that of the default context for an unknown one."""
    identity = hashlib.sha256(context.encode()).hexdigest()
    document = _read_document(environment, f"contexts/meta/{identity}/meta.json")
    endpoints = lower_keys(document.get("endpoints"))
    return _get_text(lower_keys(endpoints.get("docker")), "host") or _DEFAULT_HOST


def _get_text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _read_document(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    folder = environment.get("DOCKER_CONFIG")
    try:
        path = Path(folder) if folder else Path.home() / ".docker"
        text = (path / name).read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError):
        return {}
    return parse_document(text)
