"""Build arguments that buildx passes by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stagebake.project.default_arguments import find_default_arguments

PROXY = "http://proxy.corp.example:3128"
ENGINE = "tcp://build.example:2376"


def find_arguments(folder: Path, config: dict[str, Any], **variables: str) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return find_default_arguments({"DOCKER_CONFIG": str(folder), **variables})


@pytest.mark.parametrize(
    ("proxies", "arguments"),
    [
        ({}, {}),
        ({"default": {"httpProxy": PROXY}}, {"HTTP_PROXY": PROXY}),
        ({"default": {"HTTPPROXY": PROXY}}, {"HTTP_PROXY": PROXY}),
        ({"default": {"httpsProxy": PROXY, "noProxy": "a,b"}}, {"HTTPS_PROXY": PROXY, "NO_PROXY": "a,b"}),
        ({"default": {"ftpProxy": PROXY}}, {"FTP_PROXY": PROXY}),
        ({"default": {"allProxy": PROXY}}, {}),
        ({"default": {"httpProxy": ""}}, {}),
        ({"default": {"httpProxy": 1}}, {}),
        ({"default": None}, {}),
        ([], {}),
        ({ENGINE: {"httpProxy": "of-the-engine"}, "default": {"httpProxy": PROXY}}, {"HTTP_PROXY": "of-the-engine"}),
        ({ENGINE: {}, "default": {"httpProxy": PROXY}}, {}),
        ({"tcp://other:1": {"httpProxy": "other"}}, {}),
    ],
    ids=[
        "none", "http", "capitals", "https-and-none", "ftp", "all-is-not-passed", "empty", "number", "null", "list",
        "engine", "engine-without", "other-engine",
    ],
)  # fmt: skip
def test_find_default_arguments_returns_the_proxies_that_buildx_passes(
    tmp_path: Path, proxies: Any, arguments: dict[str, str]
) -> None:
    assert find_arguments(tmp_path, {"proxies": proxies}, DOCKER_HOST=ENGINE) == arguments


@pytest.mark.parametrize(("epoch", "arguments"), [("1", {"SOURCE_DATE_EPOCH": "1"}), ("", {})])
def test_find_default_arguments_returns_the_epoch_unless_empty(
    tmp_path: Path, epoch: str, arguments: dict[str, str]
) -> None:
    assert find_arguments(tmp_path, {}, SOURCE_DATE_EPOCH=epoch) == arguments


def test_find_default_arguments_without_docker_configuration_is_empty(tmp_path: Path) -> None:
    assert find_default_arguments({"DOCKER_CONFIG": str(tmp_path / "missing")}) == {}
