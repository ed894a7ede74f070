"""Find the login for a registry host where the docker CLI finds it, in its order.

docker/cli, cli/config/configfile/file.go (GetCredentialsStore) and cli/config/memorystore: first DOCKER_AUTH_CONFIG,
then the credential helper of the host (`credHelpers`) or of all hosts (`credsStore`), and without any
helper `auths` of config.json. tests/engine/test_docker_logins.py compares the result with what docker sends.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stagebake.http.docker_config import lower_keys, parse_document, read_docker_config

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"

# User of a login whose secret is an identity token (docker/docker-credential-helpers)
_IDENTITY_USER = "<token>"

# Output of a helper that has no login (credentials/error.go)
_NO_LOGIN = "credentials not found in native keychain"

_HELPER_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Login:
    """Login for one registry: user and password, or one of two kinds of token.

    An identity token is exchanged for a bearer token; a registry token is a bearer token already. `problem` is why a
    credential helper gave none of them.
    """

    user: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        """Hide the secrets from logs and tracebacks."""
        return f"Login(user={self.user!r})"


def find_login(host: str) -> Login | None:
    """Return the login for a registry host; None for a host without one."""
    key = _DOCKER_HUB_KEY if host in ("docker.io", "registry-1.docker.io") else host
    from_environment = _read_environment(os.environ.get("DOCKER_AUTH_CONFIG", ""))
    if key in from_environment:
        return from_environment[key]
    config = read_docker_config(os.environ)
    helpers = _get_object(config, "credhelpers")
    helper = helpers[key] if key in helpers else config.get("credsstore")
    if helper:
        return _ask_helper(str(helper), key)
    return _parse_entry(_find_entry(_get_object(config, "auths"), key))


def _read_environment(text: str) -> dict[str, Login | None]:
    """Return the logins in DOCKER_AUTH_CONFIG by their exact key; none of a text that docker refuses.

    docker/cli, configfile/file.go (parseEnvConfig): an object with `auths` alone, each entry with `auth` alone.
    """
    document = parse_document(text)
    if set(document) - {"auths"}:
        return {}
    logins: dict[str, Login | None] = {}
    for key, value in _get_object(document, "auths").items():
        entry = lower_keys(value)
        if set(entry) != {"auth"} or _decode_auth(entry["auth"]) is None:
            return {}
        logins[key] = _parse_entry(entry)
    return logins


def _get_object(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the JSON object under a key; empty for anything else."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _find_entry(auths: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the entry under this key, else under an address of the same host.

    docker/cli, cli/config/credentials/file_store.go (Get).
    """
    if key in auths:
        return lower_keys(auths[key])
    for name, entry in auths.items():
        if _host_of_key(name) == key:
            return lower_keys(entry)
    return {}


def _host_of_key(key: str) -> str:
    """Return the host of a key in `auths`, which may be an address (docker/cli, ConvertToHostname)."""
    scheme, separator, rest = key.partition("://")
    if not separator:
        return scheme.partition("/")[0]
    return rest.partition("/")[0].rpartition("@")[2]


def _parse_entry(entry: Mapping[str, Any]) -> Login | None:
    """Read one entry of `auths`. Where it has no `auth`, take `username` and `password` (types.AuthConfig)."""
    user = _get_text(entry, "username")
    password = _get_text(entry, "password")
    auth = entry.get("auth")
    if auth:
        decoded = _decode_auth(auth)
        if decoded is None:
            return None
        user, password = decoded
    registry_token = _get_text(entry, "registrytoken")
    if registry_token:
        return Login(registry_token=registry_token)
    return _create_login(user, password, _get_text(entry, "identitytoken"))


def _create_login(user: str, password: str, identity_token: str = "") -> Login | None:
    """Return what docker sends of a login: an identity token alone, or a user with a password.

    A password without a user is an identity token (containerd, core/remotes/docker/auth/fetch.go).
    """
    if identity_token or not user:
        token = identity_token or password
        return Login(identity_token=token) if token else None
    return Login(user=user, password=password) if password else None


def _decode_auth(auth: Any) -> tuple[str, str] | None:
    """Return the user and the password in `auth`; None where it is not valid (docker/cli, decodeAuth)."""
    try:
        content = base64.b64decode(auth.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        return None
    user, colon, password = content.decode("utf-8", "surrogateescape").partition(":")
    if not user or not colon:
        return None
    return user, password.strip("\0")


def _get_text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _ask_helper(helper: str, key: str) -> Login | None:
    """Run `docker-credential-HELPER get` (docker/docker-credential-helpers); None where it has no login.

    As docker does, use no login of config.json instead where it fails.
    """
    program = f"docker-credential-{helper}"
    try:
        process = subprocess.run(
            [program, "get"],
            input=key,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_HELPER_SECONDS,
        )
    except FileNotFoundError:
        return Login(problem=f"{program} not found")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Login(problem=f"{program} failed ({error})")
    if process.returncode != 0:
        if process.stdout.strip() == _NO_LOGIN:
            return None
        output = " ".join(process.stdout.split()) or f"exit code {process.returncode}"
        return Login(problem=f"{program} failed ({output})")
    try:
        found = json.loads(process.stdout)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        return Login(problem=f"{program} printed no login")
    return _create_login("" if user == _IDENTITY_USER else user, secret)
