"""Read versions from what buildx prints."""

from __future__ import annotations

import pytest

from stagebake.buildkit.versions import parse_buildkit_version, parse_buildx_version

ENGINE = """\
Name:          default
Driver:        docker
Last Activity: 2026-11-28 08:51:02 +0000 UTC

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.25.1
Platforms:        linux/amd64, linux/386
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1
"""
CONTAINER = ENGINE.replace("v0.25.1", "v0.33.0-dev").replace("docker\n", "docker-container\n")
STOPPED = "Name:   b\nDriver: docker-container\n\nNodes:\nName:     b0\nEndpoint: default\nStatus:   inactive\n"


@pytest.mark.parametrize(
    ("inspected", "version"),
    [
        (ENGINE, "0.25.1"),
        (CONTAINER, "0.33.0-dev"),
        (STOPPED, ""),
        ("BuildKit version: 0.25.1+dirty\n", "0.25.1+dirty"),
        (f"{CONTAINER}{ENGINE}{ENGINE}", "0.25.1, 0.33.0-dev"),
        ("Driver options: a=BuildKit version: 1\n", ""),
        ("", ""),
    ],
)
def test_parse_buildkit_version_reads_each_node(inspected: str, version: str) -> None:
    assert parse_buildkit_version(inspected) == version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("github.com/docker/buildx v0.36.1 29f401b496b1531d391cca6cabd8d30b6c478b66\n", "0.36.1"),
        ("github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4\n", "0.29.1+ds1"),
        ("github.com/docker/buildx v0.37.0-rc1-4-gabc \n", "0.37.0-rc1-4-gabc"),
        ("", ""),
    ],
)
def test_parse_buildx_version_of_releases_and_packages(text: str, version: str) -> None:
    assert parse_buildx_version(text) == version
