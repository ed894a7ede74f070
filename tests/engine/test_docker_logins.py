"""Compare the login that stagebake sends to a registry with the one that docker sends, for each place of a login.

`docker buildx imagetools inspect` looks for logins as `docker buildx bake` does, and needs no engine.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from stagebake.errors import RegistryError
from stagebake.stores.registry import Registry
from tests.support.page import Answer, Asked, server

PRINT_LOGIN = """printf '{"ServerURL": "%s", "Username": "helper", "Secret": "h"}' "$asked\""""
PRINT_TOKEN = """printf '{"Username": "<token>", "Secret": "identity"}'"""
PRINT_SECRET = """printf '{"Username": "", "Secret": "identity"}'"""
NO_LOGIN = 'echo "credentials not found in native keychain"; exit 1'
NO_SERVER = 'echo "no credentials server URL"; exit 1'
FAIL = "echo locked; exit 1"


def encode(login: str | bytes) -> str:
    content = login.encode() if isinstance(login, str) else login
    return base64.b64encode(content).decode()


FILE = {"auth": encode("file:f")}
ENVIRONMENT = {"auths": {"HOST": {"auth": encode("environment:e")}}}


@dataclass(frozen=True, kw_only=True)
class Logins:
    """Places of logins: docker's config.json, DOCKER_AUTH_CONFIG, and the scripts of credential helpers by name.

    HOST stands for the registry.
    """

    config: Any = None
    environment: Any = None
    helpers: dict[str, str] = field(default_factory=dict)


def in_auths(**entry: str) -> Logins:
    return Logins(config={"auths": {"HOST": entry}})


def under_key(key: str) -> Logins:
    return Logins(config={"auths": {key: FILE}})


def in_environment(document: Any, **config: Any) -> Logins:
    return Logins(config={"auths": {"HOST": FILE}, **config}, environment=document, helpers={"x": PRINT_LOGIN})


def with_store(script: str | None, **config: Any) -> Logins:
    helpers = {"x": script} if script else {}
    return Logins(config={"credsStore": "x", "auths": {"HOST": FILE}, **config}, helpers=helpers)


ENTRIES = {
    "none": Logins(),
    "auth": Logins(config={"auths": {"HOST": FILE}}),
    "username and password": in_auths(username="user", password="word"),
    "auth before username": in_auths(**FILE, username="user", password="word"),
    "identity token": in_auths(identitytoken="identity"),
    "identity token before auth": in_auths(**FILE, identitytoken="identity"),
    "registry token": in_auths(registrytoken="registry"),
    "registry token before auth": in_auths(**FILE, registrytoken="registry"),
    "username alone": in_auths(username="user"),
    "password alone": in_auths(password="identity"),
    "auth without password": in_auths(auth=encode("user:")),
    "auth without user": in_auths(auth=encode(":word")),
    "auth without colon": in_auths(auth=encode("user")),
    "auth with NUL": in_auths(auth=encode("user:word\0")),
    "auth with line end": in_auths(auth=f"{encode('user:word')[:4]}\n{encode('user:word')[4:]}\r\n"),
    "auth in Latin-1": in_auths(auth=encode(b"user:\xe9")),
    "auth without padding": in_auths(auth=encode("us:p").rstrip("=")),
    "auth not base64": in_auths(auth="%%%"),
    "keys in other case": Logins(config={"Auths": {"HOST": {"Username": "user", "PassWord": "word"}}}),
    "store": with_store(PRINT_LOGIN),
    "store with identity token": with_store(PRINT_TOKEN),
    "store with password alone": with_store(PRINT_SECRET),
}
PLACES = {
    **{f"key {key}": under_key(key) for key in ("https://HOST", "http://HOST/v1/", "HOST/v2/", "HOST/app", "//HOST")},
    **{f"key {key}": under_key(key) for key in ("https://user@HOST", "ftp://HOST/", "HTTPS://HOST", "127.0.0.1")},
    "empty entry before address": Logins(config={"auths": {"HOST": {}, "https://HOST": FILE}}),
    "store without login": with_store(NO_LOGIN),
    "store that fails": with_store(FAIL),
    "store without server": with_store(NO_SERVER),
    "store not found": with_store(None),
    "store with other output": with_store("echo locked"),
    "helper": Logins(config={"credHelpers": {"HOST": "x"}}, helpers={"x": PRINT_LOGIN}),
    "helper before store": Logins(
        config={"credsStore": "y", "credHelpers": {"HOST": "x"}}, helpers={"x": PRINT_LOGIN, "y": FAIL}
    ),
    "helper without login before store": Logins(
        config={"credsStore": "y", "credHelpers": {"HOST": "x"}}, helpers={"x": NO_LOGIN, "y": PRINT_LOGIN}
    ),
    "helper of another host": with_store(PRINT_LOGIN, credHelpers={"other.io": "y"}),
    "helper with empty name": with_store(PRINT_LOGIN, credHelpers={"HOST": ""}),
    "helper under an address": Logins(
        config={"credHelpers": {"https://HOST": "x"}, "auths": {"HOST": FILE}}, helpers={"x": PRINT_LOGIN}
    ),
    "environment": Logins(environment=ENVIRONMENT),
    "environment before auths": in_environment(ENVIRONMENT),
    "environment before store": in_environment(ENVIRONMENT, credsStore="x"),
    "environment before helper": in_environment(ENVIRONMENT, credHelpers={"HOST": "x"}),
    "environment for another host": in_environment({"auths": {"other.io": FILE}}, credsStore="x"),
    "environment with address": in_environment({"auths": {"https://HOST": {"auth": encode("environment:e")}}}),
    "environment with username": in_environment({"auths": {"HOST": {"username": "user", "password": "word"}}}),
    "environment with identity token": in_environment({"auths": {"HOST": {**FILE, "identitytoken": "identity"}}}),
    "environment without password": in_environment({"auths": {"HOST": {"auth": encode("user:")}}}),
    "environment with other keys": in_environment({**ENVIRONMENT, "credsStore": "x"}),
    "environment not JSON": in_environment("auths"),
}


class LoginRegistry:
    """Registry that requires a login of this scheme; `received` are the logins that it and its token service got."""

    def __init__(self, scheme: str) -> None:
        self.received: list[str] = []
        self._scheme = scheme

    def __call__(self, asked: Asked, body: bytes) -> Answer:
        scheme, _, login = asked.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            self.received.append(base64.b64decode(login).decode(errors="backslashreplace"))
        elif scheme == "Bearer" and login != "opened":
            self.received.append(f"token {login}")
        if asked.path.startswith("/token"):
            self._note_form(parse_qs(body.decode(), errors="backslashreplace"))
            return 200, {"Content-Type": "application/json"}, b'{"token": "opened", "access_token": "opened"}'
        if scheme:
            return 404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'
        return 401, {"WWW-Authenticate": self._challenge(asked.headers["Host"])}, b"{}"

    def _challenge(self, host: str) -> str:
        if self._scheme == "Basic":
            return 'Basic realm="tests"'
        return f'Bearer realm="http://{host}/token",service="tests"'

    def _note_form(self, form: dict[str, list[str]]) -> None:
        """Note the login in a form: docker sends there what stagebake sends in a header."""
        if "refresh_token" in form:
            self.received.append(f"identity {form['refresh_token'][0]}")
        elif "username" in form:
            self.received.append(f"{form['username'][0]}:{form['password'][0]}")


@contextmanager
def run_registry(scheme: str, logins: Logins, folder: Path) -> Iterator[tuple[LoginRegistry, str, dict[str, str]]]:
    """Yield a registry, its HOST:PORT, and the environment of a program that has these logins for it."""
    registry = LoginRegistry(scheme)
    with server(registry) as host:
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "DOCKER_CONFIG": str(folder),
            "DOCKER_HOST": "unix:///nowhere.sock",
        }
        if logins.config is not None:
            (folder / "config.json").write_text(json.dumps(logins.config).replace("HOST", host), encoding="utf-8")
        if logins.environment is not None:
            environment["DOCKER_AUTH_CONFIG"] = json.dumps(logins.environment).replace("HOST", host)
        for name, script in logins.helpers.items():
            program = folder / f"docker-credential-{name}"
            program.write_text(f"#!/bin/sh\nread -r asked\n{script}\n", encoding="utf-8")
            program.chmod(0o755)
        yield registry, host, environment


def receive_from_docker(scheme: str, logins: Logins, folder: Path) -> set[str]:
    with run_registry(scheme, logins, folder) as (registry, host, environment):
        command = ("docker", "buildx", "imagetools", "inspect", f"{host}/app:1")
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode != 0, answer.stdout
    return set(registry.received)


def receive_from_stagebake(scheme: str, logins: Logins, folder: Path) -> set[str]:
    with run_registry(scheme, logins, folder) as (registry, host, environment), pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOCKER_AUTH_CONFIG", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        with closing(Registry(f"{host}/app")) as image, suppress(RegistryError):
            image.read_manifest("1")
    return set(registry.received)


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_find_login_of_each_kind_is_what_docker_sends(name: str, scheme: str, tmp_path: Path) -> None:
    expected = receive_from_docker(scheme, ENTRIES[name], tmp_path)
    assert receive_from_stagebake(scheme, ENTRIES[name], tmp_path) == expected


@pytest.mark.parametrize("name", PLACES)
def test_find_login_of_each_place_is_what_docker_sends(name: str, tmp_path: Path) -> None:
    expected = receive_from_docker("Bearer", PLACES[name], tmp_path)
    assert receive_from_stagebake("Bearer", PLACES[name], tmp_path) == expected


def test_docker_sends_the_login_of_each_kind(tmp_path: Path) -> None:
    """Make sure that the comparison compares logins: docker finds these."""
    expected = {
        "auth": {"file:f"},
        "username and password": {"user:word"},
        "identity token": {"identity identity"},
        "registry token": {"token registry"},
        "store": {"helper:h"},
    }
    for name, login in expected.items():
        assert receive_from_docker("Bearer", ENTRIES[name], tmp_path) == login
    assert receive_from_docker("Bearer", PLACES["environment"], tmp_path) == {"environment:e"}
    assert receive_from_docker("Bearer", PLACES["helper"], tmp_path) == {"helper:h"}


def test_refused_request_names_the_helper_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for script, problem in ((FAIL, "failed (locked)"), (None, "not found"), ("echo locked", "printed no login")):
        with run_registry("Basic", with_store(script), tmp_path) as (_, host, environment):
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            with closing(Registry(f"{host}/app")) as image, pytest.raises(RegistryError) as caught:
                image.read_manifest("1")
        assert caught.value.hint.startswith(f"docker-credential-x {problem}: ")
        (tmp_path / "docker-credential-x").unlink(missing_ok=True)
