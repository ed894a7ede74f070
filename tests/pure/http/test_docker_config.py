"""Docker's config.json, and the engine that a context names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stagebake.http.docker_config import find_engine_host, parse_document, read_docker_config


def write_context(folder: Path, name: str, document: object) -> None:
    place = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    place.mkdir(parents=True)
    (place / "meta.json").write_text(json.dumps(document), encoding="utf-8")


def test_read_docker_config_of_a_missing_or_broken_file_is_empty(tmp_path: Path) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path)}
    assert read_docker_config(environment) == {}
    (tmp_path / "config.json").write_bytes(b"\xff{")
    assert read_docker_config(environment) == {}


@pytest.mark.parametrize(("text", "document"), [("", {}), ("[]", {}), ("{", {}), ('{"Auths": 1}', {"auths": 1})])
def test_parse_document_returns_an_object_with_keys_in_lower_case(text: str, document: dict[str, int]) -> None:
    assert parse_document(text) == document


@pytest.mark.parametrize(
    ("variables", "current", "host"),
    [
        ({}, None, "unix:///var/run/docker.sock"),
        ({}, "default", "unix:///var/run/docker.sock"),
        ({}, "remote", "tcp://build.example:2376"),
        ({}, "unknown", "unix:///var/run/docker.sock"),
        ({"DOCKER_CONTEXT": "shell"}, "remote", "http://docker.example.com"),
        ({"DOCKER_CONTEXT": "default"}, "remote", "unix:///var/run/docker.sock"),
        ({"DOCKER_HOST": "tcp://other:1", "DOCKER_CONTEXT": "remote"}, None, "tcp://other:1"),
        ({"DOCKER_HOST": "ssh://me@other"}, None, "http://docker.example.com"),
    ],
)
def test_find_engine_host_follows_the_order_of_docker(
    tmp_path: Path, variables: dict[str, str], current: str | None, host: str
) -> None:
    if current:
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": current}), encoding="utf-8")
    write_context(tmp_path, "remote", {"Endpoints": {"docker": {"Host": "tcp://build.example:2376"}}})
    write_context(tmp_path, "shell", {"Endpoints": {"docker": {"Host": "ssh://me@build.example"}}})
    assert find_engine_host({"DOCKER_CONFIG": str(tmp_path), **variables}) == host
