"""Know what some commands of a RUN change, and nothing about the others."""

from __future__ import annotations

import pytest

from stagebake.doctor.proof.command_effects import TreeChange, find_effect, is_system_path
from stagebake.doctor.proof.stage_state import StageState

STATE = StageState(folder="/app")


@pytest.mark.parametrize(
    ("command", "tree"),
    [
        ("chown -R a:b /x y", TreeChange("chown", "a:b", ("/x", "/app/y"), True)),
        ("chown 10 /x", TreeChange("chown", "10", ("/x",), False)),
        ("chmod --recursive 0755 .", TreeChange("chmod", "0755", ("/app",), True)),
    ],
)
def test_find_effect_of_owners_and_modes(command: str, tree: TreeChange) -> None:
    effect = find_effect(command.split(), STATE)
    assert effect is not None
    assert effect.tree == tree
    assert effect.writes == tree.paths


@pytest.mark.parametrize(
    ("command", "writes"),
    [
        ("mkdir -p a /b/c", {"/app/a", "/b/c"}),
        ("ln -sf ../x /b/c", {"/b/c"}),
        ("useradd --uid 10 --home-dir=/srv/joe joe", {"/etc", "/home/joe", "/srv/joe"}),
        ("addgroup -g 10 web", {"/etc"}),
        ("apt-get install -y --no-install-recommends curl libc6=2.36-9+deb12u4", {"/usr", "/etc", "/var"}),
        ("rm -rf /var/lib/apt/lists/*", {"/var"}),
        ("set -eux", set()),
    ],
)
def test_find_effect_names_what_a_command_writes(command: str, writes: set[str]) -> None:
    effect = find_effect(command.split(), STATE)
    assert effect is not None
    assert writes <= set(effect.writes)


@pytest.mark.parametrize(
    "command",
    [
        "chown -Rh a:b /x",
        "chown -R a:b /x/*",
        "chown -R a:b",
        "chmod -R u+x /x",
        "mkdir -m 700 /x",
        "ln -s x /y/",
        "ln x /y",
        "useradd -p $HASH joe",
        "rm -rf /app/x",
        "apt-get install ./local.deb",
        "apt-get install $PACKAGES",
        "apk fix",
        "make install",
        "set -o pipefail",
    ],
)
def test_find_effect_of_anything_else_is_unknown(command: str) -> None:
    assert find_effect(command.split(), STATE) is None


def test_find_effect_without_words_or_folder_is_unknown() -> None:
    assert find_effect(None, STATE) is None
    assert find_effect(["mkdir", "x"], StageState()) is None


@pytest.mark.parametrize("path", ["/", "/etc/x", "/usr/local/bin", "/root", "/var/lib/x"])
def test_is_system_path_of_system_folders(path: str) -> None:
    assert is_system_path(path)


@pytest.mark.parametrize("path", ["/app", "/opt/x", "/usr/src/app", "/var/www/html", "/home/x", "/etcetera"])
def test_is_system_path_not_of_the_application(path: str) -> None:
    assert not is_system_path(path)
