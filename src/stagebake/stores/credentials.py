"""Find the login for a registry host in docker's config.json or a credential helper."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# User of a login whose secret is an identity token (docker/docker-credential-helpers)
IDENTITY_USER = "<token>"

_HELPER_SECONDS = 20


def find_login(host: str) -> tuple[str, str] | None:
    """Return user and password for a registry host, from docker's config.json or the credential helper in it.

    With the user `<token>`, the password is an identity token. None where there is no login.
    """
    config = _read_config()
    key = "https://index.docker.io/v1/" if host == "registry-1.docker.io" else host
    auths = _get_object(config, "auths")
    # The exact key first, then keys that are addresses: docker/cli, cli/config/credentials/file_store.go, Get
    names = [key]
    names += [name for name in auths if _host_of_key(name) == key]
    for name in names:
        login = _parse_login(_get_object(auths, name))
        if login is not None:
            return login
    helper = _get_object(config, "credHelpers").get(key) or config.get("credsStore")
    return _ask_helper(helper, key) if helper else None


def _read_config() -> dict[str, Any]:
    """Return docker's config.json; empty where it is missing or not valid."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _get_object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the JSON object under a key; empty for anything else."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _host_of_key(key: str) -> str:
    """Return the host of a key in `auths`, which may be an address (docker/cli, ConvertToHostname)."""
    without_scheme = key.rpartition("://")[2]
    return without_scheme.partition("/")[0]


def _parse_login(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    identity_token = entry.get("identitytoken")
    if identity_token:
        return IDENTITY_USER, str(identity_token)
    try:
        decoded = base64.b64decode(entry.get("auth") or "").decode()
    except (ValueError, TypeError):
        return None
    user, _, password = decoded.partition(":")
    return (user, password) if user else None


def _ask_helper(helper: str, key: str) -> tuple[str, str] | None:
    """Run `docker-credential-HELPER get` (docker/docker-credential-helpers); None where it fails."""
    try:
        process = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=key,
            capture_output=True,
            text=True,
            check=True,
            timeout=_HELPER_SECONDS,
        )
        found = json.loads(process.stdout)
        return found["Username"], found["Secret"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
