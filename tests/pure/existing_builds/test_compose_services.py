"""Services of a compose file that build an image."""

from __future__ import annotations

import pytest

from stagebake.existing_builds.compose_services import find_compose_builds
from stagebake.existing_builds.yaml_nodes import InvalidYaml

TEXT = """\
services:
  web:
    image: ghcr.io/acme/web
    build:
      context: web
      dockerfile: docker/Dockerfile
      target: app
      args:
        NODE_ENV: production
        TOKEN:
      additional_contexts:
        - tools=docker-image://tools:1
      secrets: [npm, file, other]
  worker:
    build: ./worker
  inline:
    build:
      dockerfile_inline: FROM scratch
  db:
    image: postgres
secrets:
  npm: {environment: NPM_TOKEN}
  file: {file: ./secret}
"""


def test_find_compose_builds_reads_the_services_with_a_build() -> None:
    builds = dict(find_compose_builds("compose.yaml", TEXT))
    assert {name: build.place for name, build in builds.items()} == {
        "web": "compose.yaml:5",
        "worker": "compose.yaml:15",
        "inline": "compose.yaml:18",
    }
    assert {name: given.values for name, given in builds["web"].inputs.items()} == {
        "context": ("web",),
        "file": ("docker/Dockerfile",),
        "target": ("app",),
        "build-args": ("NODE_ENV=production", "TOKEN"),
        "build-contexts": ("tools=docker-image://tools:1",),
        "secrets": ("id=npm,env=NPM_TOKEN", "id=file,src=./secret", "id=other"),
        "tags": ("ghcr.io/acme/web",),
    }
    assert builds["worker"].find_value("context") == "./worker"
    assert builds["inline"].problem == "the Dockerfile is part of the compose file"


def test_find_compose_builds_of_a_file_that_is_not_valid_raises() -> None:
    with pytest.raises(InvalidYaml):
        list(find_compose_builds("compose.yaml", "services: ["))
