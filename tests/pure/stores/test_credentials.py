"""Test which login is found in docker's config.json."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from stagebake.stores.credentials import IDENTITY_USER, find_login

HUB_KEY = "https://index.docker.io/v1/"


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide docker's folder, without a config in it."""
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
    assert find_login("r.io") == ("user", "pass:word")


def test_find_login_docker_hub_uses_its_old_address(config_folder: Path) -> None:
    write_config(config_folder, {"auths": {HUB_KEY: encode_login("user:word")}})
    assert find_login("registry-1.docker.io") == ("user", "word")


def test_find_login_identity_token_has_its_own_user(config_folder: Path) -> None:
    write_config(config_folder, {"auths": {"r.io": {**encode_login("user:"), "identitytoken": "mine"}}})
    assert find_login("r.io") == (IDENTITY_USER, "mine")
