"""Find the login for a registry host in docker's config.json or a credential helper."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# docker/docker-credential-helpers: the user where the secret is an identity token
_IDENTITY = "<token>"


def find_login(host: str) -> tuple[str, str] | None:
    """User and password for a host, from docker's config.json or the credential helper that it names.

    With the user `<token>` the password is an identity token, as credential helpers have it.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    key = "https://index.docker.io/v1/" if host == "registry-1.docker.io" else host
    auths = _table(config, "auths")
    # docker/cli, cli/config/credentials/file_store.go, Get
    names = (key, *(name for name in auths if _host(name) == key))
    if login := next(filter(None, (_login(_table(auths, name)) for name in names)), None):
        return login
    helper = _table(config, "credHelpers").get(key) or config.get("credsStore")
    return _ask_helper(helper, key) if helper else None


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object under a key; empty for anything else."""
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _host(name: str) -> str:
    """The host in a key of config.json, which may be an address (docker/cli, ConvertToHostname)."""
    return name.rpartition("://")[2].partition("/")[0]


def _login(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    if identity := entry.get("identitytoken"):
        return _IDENTITY, str(identity)
    try:
        user, _, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except (ValueError, TypeError):
        return None
    return (user, password) if user else None


def _ask_helper(helper: str, key: str) -> tuple[str, str] | None:
    """Asks `docker-credential-HELPER get` (docker/docker-credential-helpers)."""
    try:
        answer = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=key,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        found = json.loads(answer.stdout)
        return found["Username"], found["Secret"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
