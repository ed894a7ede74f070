"""What of the user's own bake file, and of contexts, changes the stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.fingerprinter import Fingerprinter, familiar_name
from stagebake.project.settings import Settings


def known(root: Path, override: str) -> bool:
    """Whether the stage can be said to be the same with this docker-bake.override.hcl."""
    graph = parse_dockerfile("FROM scratch AS app\nWORKDIR /app\n")
    return (
        not Fingerprinter(graphs=[graph], settings=Settings(root=root), override=override)
        .fingerprint_folder()["app"]
        .unknown
    )


@pytest.mark.parametrize(
    "line",
    [
        "no-cache = true", 'no-cache-filter = ["app"]', "cache-from = []", 'extra-hosts = { a = "10.0.0.1" }',
        'target = "other"', 'args = { A = "1" }', "ulimits = []",
    ],
)  # fmt: skip
def test_what_may_change_a_stage_makes_it_unknown(tmp_path: Path, line: str) -> None:
    """Only what is known to be harmless lets a plan promise anything."""
    assert not known(tmp_path, f'target "app" {{\n  {line}\n}}\n')


@pytest.mark.parametrize("text", ['variable "A" {\n  default = "1"\n}\n', "target {", 'function "f" {}'])
def test_what_is_no_plain_target_makes_it_unknown(tmp_path: Path, text: str) -> None:
    """Variables reach into the generated file, and what cannot be read may hold anything."""
    assert not known(tmp_path, text)


def test_names_and_labels_change_nothing(tmp_path: Path) -> None:
    """A label may be called as it likes."""
    text = 'target "app" {\n  tags = ["x:${1}"]\n  labels = { "network" = "args" }\n  output = ["type=docker"]\n}\n'
    assert known(tmp_path, text)
    assert known(tmp_path, "")


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("debian:latest", "debian"),
        ("docker.io/library/debian", "debian"),
        ("index.docker.io/library/debian:12", "debian:12"),
        ("docker.io/team/app", "team/app"),
        ("ghcr.io/library/app", "ghcr.io/library/app"),
    ],
)
def test_a_context_is_found_by_the_familiar_name(name: str, same: str) -> None:
    """As buildx and BuildKit make both sides short."""
    assert familiar_name(name) == familiar_name(same) == same
