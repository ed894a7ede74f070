"""Recognize package managers in RUN commands."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.package_managers import find_installs, find_package_managers, is_install
from stagebake.dockerfile.stages import parse_dockerfile


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("apt-get update && apt-get install -y curl", ["apt-get"]),
        ("apt-get install -y gcc && bundle install", ["apt-get", "bundle"]),
        ("uv pip install -r requirements.txt", ["uv"]),
        ("pip install -e .", []),
        ("npm run install-hooks", []),
        ("make install", []),
    ],
)
def test_find_package_managers_recognizes_install_commands(command: str, names: list[str]) -> None:
    assert [manager.name for manager in find_package_managers(command)] == names


def test_find_installs_needed_stage_gives_manifests() -> None:
    """Leave out stages that are not built."""
    text = "FROM a AS base\nRUN apt-get install -y gcc && pip install -r dev.txt\nFROM b\nRUN npm ci\n"
    assert [install.short_command for install in find_installs(parse_dockerfile(text))] == ["npm ci"]
    (install,) = find_installs(parse_dockerfile(text, target="base"))
    assert install.manifests == ("dev.txt",)
    assert install.installs_in("pip install x")
    assert not install.installs_in("npm ci")


@pytest.mark.parametrize(("step", "installs"), [("RUN npm ci", True), ("RUN make", False), ("COPY npm ci", False)])
def test_is_install_takes_only_run_steps(step: str, installs: bool) -> None:
    assert is_install(step) == installs
