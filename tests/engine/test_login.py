"""Test that a registry with a login works, and that its login goes to no other host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.conftest import write_logins
from tests.support.project import Project
from tests.support.registry import Registry


@pytest.fixture
def protected(registry: Registry) -> Iterator[Registry]:
    """Return the registry with a login, whose uploads lead to another host."""
    with registry.require_login(moves_uploads=True) as protected:
        yield protected


def test_build_with_uploads_at_another_host_saves_and_restores(
    five: Project, protected: Registry, tmp_path: Path
) -> None:
    """Push, restore and rebuild: the storage gets the uploads of stagebake without the login."""
    write_logins(tmp_path, protected)
    config = str(tmp_path)
    project = replace(five, registry=protected)
    project.settings()
    project.commit()
    storage = protected.storage
    with storage.watched() as uploads:
        first = project.build("--push", DOCKER_CONFIG=config)
    assert {entry.method for entry in uploads if entry.agent.startswith("stagebake/")} == {"PUT"}
    assert all(entry.status < 300 for entry in uploads)
    assert first.ran == {"base", "python-deps", "node-deps", "builder", "runtime"}

    project.engine.empty()
    assert project.build("--push", DOCKER_CONFIG=config).ran == set()
    project.write({"src/page.ts": "changed\n"})
    assert project.build("--push", DOCKER_CONFIG=config).ran == {"builder", "runtime"}


def test_purge_without_the_login_names_the_command(project: Project, protected: Registry, tmp_path: Path) -> None:
    image = f"{protected.host}/{project.name}"
    answer = project.stagebake("cache", "purge", "--scope=x", f"--image={image}", DOCKER_CONFIG=str(tmp_path))
    assert answer.exit_code == 1
    assert f"log in: docker login {protected.host}; " in answer.stderr
