"""Find the login for a registry host where the docker CLI finds it, in its order.

docker/cli, cli/config/configfile/file.go (GetCredentialsStore) and cli/config/memorystore: first DOCKER_AUTH_CONFIG,
then the credential helper of the host (`credHelpers`) or of all hosts (`credsStore`), and without any
helper `auths` of config.json.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"

# User of a login whose secret is an identity token (docker/docker-credential-helpers)
_IDENTITY_USER = "<token>"

_HELPER_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Login:
    """Login for one registry: user and password, or one of two kinds of token.

    An identity token is exchanged for a bearer token; a registry token is a bearer token already.
    """

    user: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        """Hide the secrets from logs and tracebacks."""
        return f"Login(user={self.user!r})"


class _HelperFailed(Exception):
    """Credential helper that is missing or fails, which is not the same as one that has no login."""


def find_login(host: str) -> Login | None:
    """Return the login for a registry host; None for a host without a login."""
    key = _DOCKER_HUB_KEY if host in ("docker.io", "registry-1.docker.io") else host
    from_environment = _read_environment(os.environ.get("DOCKER_AUTH_CONFIG", ""))
    if key in from_environment:
        return from_environment[key]
    config = _read_config()
    from_file = _find_entry(_get_object(config, "auths"), key)
    helper = _get_object(config, "credHelpers").get(key) or config.get("credsStore")
    if not helper:
        return from_file
    try:
        return _ask_helper(str(helper), key)
    except _HelperFailed:
        return from_file


def _read_environment(text: str) -> dict[str, Login]:
    """Return the logins in DOCKER_AUTH_CONFIG by their exact key; none of a text that docker refuses.

    docker/cli, configfile/file.go (parseEnvConfig): an object with `auths` alone, each entry with `auth` alone.
    """
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or set(document) - {"auths"}:
        return {}
    logins = {}
    for key, entry in _get_object(document, "auths").items():
        login = _parse_entry(entry) if isinstance(entry, dict) and set(entry) == {"auth"} else None
        if login is None:
            return {}
        logins[key] = login
    return logins


def _read_config() -> dict[str, Any]:
    """Return docker's config.json; empty where it is missing or not valid, or where there is no home directory."""
    folder = os.environ.get("DOCKER_CONFIG")
    try:
        path = Path(folder) if folder else Path.home() / ".docker"
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, RuntimeError):
        return {}
    return config if isinstance(config, dict) else {}


def _get_object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the JSON object under a key; empty for anything else."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _find_entry(auths: Mapping[str, Any], key: str) -> Login | None:
    """Return the login under this key, else under an address of the same host.

    docker/cli, cli/config/credentials/file_store.go (Get).
    """
    names = [key, *(name for name in auths if _host_of_key(name) == key)]
    for name in names:
        login = _parse_entry(_get_object(auths, name))
        if login is not None:
            return login
    return None


def _host_of_key(key: str) -> str:
    """Return the host of a key in `auths`, which may be an address (docker/cli, ConvertToHostname)."""
    without_scheme = key.rpartition("://")[2]
    return without_scheme.partition("/")[0]


def _parse_entry(entry: Mapping[str, Any]) -> Login | None:
    """Read one entry of `auths`. Where it has no `auth`, take `username` and `password` (types.AuthConfig)."""
    user = _get_text(entry, "username")
    password = _get_text(entry, "password")
    auth = entry.get("auth")
    if auth:
        try:
            decoded = base64.b64decode(auth, validate=True).decode()
        except (binascii.Error, ValueError, TypeError):
            return None
        user, _, password = decoded.partition(":")
        password = password.strip("\0")
    login = Login(
        user=user,
        password=password,
        identity_token=_get_text(entry, "identitytoken"),
        registry_token=_get_text(entry, "registrytoken"),
    )
    return login if login.user or login.identity_token or login.registry_token else None


def _get_text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _ask_helper(helper: str, key: str) -> Login | None:
    """Run `docker-credential-HELPER get` (docker/docker-credential-helpers); None where it has no login."""
    try:
        process = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=key,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_HELPER_SECONDS,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        raise _HelperFailed from None
    if process.returncode != 0:
        if "credentials not found" in process.stdout:
            return None
        raise _HelperFailed
    try:
        found = json.loads(process.stdout)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise _HelperFailed from None
    if user == _IDENTITY_USER:
        return Login(identity_token=secret)
    return Login(user=user, password=secret) if user else None
