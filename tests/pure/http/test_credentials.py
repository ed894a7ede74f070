"""Test which login is found in docker's config.json."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from stagebake.http.credentials import Login, find_login

HUB_KEY = "https://index.docker.io/v1/"


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide docker's folder, without a config in it."""
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def write_config(folder: Path, config: Any) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def encode_login(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


def test_find_login_without_config_is_none() -> None:
    assert find_login("r.io") is None


@pytest.mark.parametrize(
    "config",
    [
        [],
        None,
        {"auths": None},
        {"credHelpers": None},
        {"auths": {"r.io": None}},
        {"auths": {"r.io": {"auth": 3}}},
        {"auths": {"r.io": {"auth": "a"}}},
        {"auths": {"r.io": {"auth": "/w=="}}},
        {"auths": {"r.io": {}}},
    ],
    ids=json.dumps,
)
def test_find_login_config_of_other_shape_is_none(config_folder: Path, config: Any) -> None:
    write_config(config_folder, config)
    assert find_login("r.io") is None


@pytest.mark.parametrize("key", ["r.io", "https://r.io", "http://r.io/v1/", "https://r.io/v2/", "r.io/v1/"])
def test_find_login_address_as_key_counts_as_its_host(config_folder: Path, key: str) -> None:
    """Accept the same keys as docker."""
    auths = {"other.io": encode_login("a:b"), key: encode_login("user:pass:word")}
    write_config(config_folder, {"auths": auths})
    assert find_login("r.io") == Login(user="user", password="pass:word")


def test_find_login_docker_hub_uses_its_old_address(config_folder: Path) -> None:
    write_config(config_folder, {"auths": {HUB_KEY: encode_login("user:word")}})
    assert find_login("registry-1.docker.io") == Login(user="user", password="word")


def test_find_login_identity_token_wins_over_the_user(config_folder: Path) -> None:
    write_config(config_folder, {"auths": {"r.io": {**encode_login("user:"), "identitytoken": "mine"}}})
    assert find_login("r.io") == Login(identity_token="mine")


def test_find_login_username_and_password_without_auth(config_folder: Path) -> None:
    """Kubernetes secrets and files written by hand have no `auth`."""
    write_config(config_folder, {"auths": {"r.io": {"username": "user", "password": "pass:word"}}})
    assert find_login("r.io") == Login(user="user", password="pass:word")


def test_find_login_auth_wins_over_username_and_password(config_folder: Path) -> None:
    entry = {**encode_login("user:word"), "username": "other", "password": "other"}
    write_config(config_folder, {"auths": {"r.io": entry}})
    assert find_login("r.io") == Login(user="user", password="word")


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        (encode_login("user"), None),
        (encode_login("user:"), None),
        (encode_login(":word"), None),
        ({"username": "user"}, None),
        ({"password": "mine"}, Login(identity_token="mine")),
        ({"auth": "dXNl\ncjp3\r\nb3Jk"}, Login(user="user", password="word")),
        ({"auth": base64.b64encode(b"user:\xe9").decode()}, Login(user="user", password="\udce9")),
        ({"Username": "user", "PASSWORD": "word"}, Login(user="user", password="word")),
    ],
    ids=repr,
)
def test_find_login_entry_is_read_as_docker_reads_it(
    config_folder: Path, entry: dict[str, str], login: Login | None
) -> None:
    write_config(config_folder, {"Auths": {"r.io": entry}})
    assert find_login("r.io") == login


@pytest.mark.parametrize("key", ["ftp://r.io", "https://user@r.io/v1/", "HTTPS://r.io"])
def test_find_login_address_of_any_scheme_counts_as_its_host(config_folder: Path, key: str) -> None:
    write_config(config_folder, {"auths": {key: encode_login("user:word")}})
    assert find_login("r.io") == Login(user="user", password="word")


def test_find_login_exact_key_wins_over_an_address_even_if_empty(config_folder: Path) -> None:
    write_config(config_folder, {"auths": {"https://r.io": encode_login("user:word"), "r.io": {}}})
    assert find_login("r.io") is None


def test_find_login_empty_helper_means_the_file(config_folder: Path) -> None:
    config = {"credsStore": "x", "credHelpers": {"r.io": ""}, "auths": {"r.io": encode_login("user:word")}}
    write_config(config_folder, config)
    assert find_login("r.io") == Login(user="user", password="word")


def test_find_login_registry_token(config_folder: Path) -> None:
    write_config(config_folder, {"auths": {"r.io": {"registrytoken": "bearer"}}})
    assert find_login("r.io") == Login(registry_token="bearer")


def test_find_login_environment_before_config(config_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitLab's CI and the docker CLI from 28.3 on read DOCKER_AUTH_CONFIG."""
    write_config(config_folder, {"auths": {"r.io": encode_login("file:f"), "s.io": encode_login("file:f")}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"r.io": encode_login("environment:e")}}))
    assert find_login("r.io") == Login(user="environment", password="e")
    assert find_login("s.io") == Login(user="file", password="f")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        '{"auths": []}',
        json.dumps({"auths": {"r.io": {"username": "u", "password": "p"}}}),
        json.dumps({"auths": {"r.io": encode_login("u:p")}, "credHelpers": {}}),
        json.dumps({"auths": {"https://r.io/v1/": encode_login("u:p")}}),
        json.dumps({"auths": {"r.io": encode_login("u:p"), "s.io": {"auth": ""}}}),
    ],
)
def test_find_login_environment_that_docker_refuses_is_not_used(
    config_folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """docker takes exact keys with `auth` alone there, and nothing of a text with anything else."""
    write_config(config_folder, {"auths": {"r.io": encode_login("file:f")}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", text)
    assert find_login("r.io") == Login(user="file", password="f")


def test_find_login_without_a_home_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find no login in a container that runs as a user without a home."""

    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setattr(Path, "home", fail)
    assert find_login("r.io") is None


def test_login_repr_hides_the_secrets() -> None:
    login = Login(user="user", password="p4ss", identity_token="t0ken", registry_token="b3arer")
    assert not [secret for secret in ("p4ss", "t0ken", "b3arer") if secret in repr(login)]
