"""Mark the tests by what they start, and order them so that no worker is left with a long one at the end.

Unit tests start no process. Tests under tests/engine and tests/git do, and carry the markers `engine` and `git`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from stagebake.http.unreached import UNREACHED_HOSTS
from tests.support.canary import LEAKS

ENGINE_TESTS = Path(__file__).parent / "engine"
GIT_TESTS = Path(__file__).parent / "git"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a Docker engine and a registry, which the tests start themselves")
    config.addinivalue_line("markers", "git: starts git, and stagebake where no engine answers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ENGINE_TESTS in item.path.parents:
            item.add_marker("engine")
        if GIT_TESTS in item.path.parents:
            item.add_marker("git")
    items.sort(key=_start_order)


def _start_order(item: pytest.Item) -> int:
    """Return 0 for what starts first: tests that stay together on one worker, then builds, git, and unit tests."""
    marks = ("xdist_group", "engine", "git")
    return next((order for order, mark in enumerate(marks) if item.get_closest_marker(mark)), len(marks))


@pytest.fixture(autouse=True)
def forget_unreached_hosts() -> None:
    """Let each test connect to ports that an earlier one found closed."""
    UNREACHED_HOSTS.forget_hosts()


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    """Fail a test in which another server than the registry received the registry's login."""
    yield
    fail_on_leaks()


def fail_on_leaks() -> None:
    """Fail if a server of the tests noted a leak since the last call."""
    leaks = LEAKS.take_leaks()
    if leaks:
        pytest.fail("\n".join(leaks), pytrace=False)


@pytest.fixture(autouse=True)
def no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that starts a process."""
    if request.node.get_closest_marker("engine") or request.node.get_closest_marker("git"):
        return
    for owner, name in ((subprocess, "Popen"), (os, "posix_spawn"), (os, "fork"), (os, "system")):
        monkeypatch.setattr(owner, name, _refuse)


def _refuse(*arguments: Any, **_: Any) -> NoReturn:
    raise AssertionError(f"a unit test starts a process: {arguments}")
