"""Test which settings of the user's bake file and which named contexts change the stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.fingerprinter import Fingerprinter, familiar_name
from stagebake.project.settings import Settings


def is_known(root: Path, override: str) -> bool:
    """Return True if a stage has no unknown part with this docker-bake.override.hcl."""
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
def test_fingerprinter_with_bake_setting_that_may_matter_is_unknown(tmp_path: Path, line: str) -> None:
    """Accept only settings that are known to be harmless."""
    assert not is_known(tmp_path, f'target "app" {{\n  {line}\n}}\n')


@pytest.mark.parametrize("text", ['variable "A" {\n  default = "1"\n}\n', "target {", 'function "f" {}'])
def test_fingerprinter_with_other_bake_blocks_is_unknown(tmp_path: Path, text: str) -> None:
    """Distrust variables, which change the generated file, and text that does not parse."""
    assert not is_known(tmp_path, text)


def test_fingerprinter_with_tags_and_labels_is_known(tmp_path: Path) -> None:
    """Accept any name of a label."""
    text = 'target "app" {\n  tags = ["x:${1}"]\n  labels = { "network" = "args" }\n  output = ["type=docker"]\n}\n'
    assert is_known(tmp_path, text)
    assert is_known(tmp_path, "")


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
def test_familiar_name_of_equal_images_is_equal(name: str, same: str) -> None:
    assert familiar_name(name) == familiar_name(same) == same
