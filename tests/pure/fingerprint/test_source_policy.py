"""Read source policies: which of them may replace what stages are made from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagebake.fingerprint.source_policy import SOURCE_POLICY, source_policy_file, source_policy_parts

IMAGE = "docker-image://docker.io/library/debian:12"
DENY = {"action": "DENY", "selector": {"identifier": IMAGE}}
CONVERT = {"action": "CONVERT", "selector": {"identifier": IMAGE}, "updates": {"identifier": "docker-image://x:1"}}


@pytest.mark.parametrize("rules", [[], [DENY], [{"selector": {"identifier": IMAGE}}], [{"action": 1}], None])
def test_source_policy_that_replaces_nothing_adds_no_part(tmp_path: Path, rules: object) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"rules": rules}), encoding="utf-8")
    assert source_policy_parts(file) == []


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"rules": [DENY, CONVERT]}),
        json.dumps({"rules": [{"action": 2}]}),
        json.dumps({"rules": [{"action": "LATER"}]}),
        json.dumps({"rules": [{"action": []}]}),
        json.dumps({"rules": 1}),
        "[]",
        "\n\x12\x0bprotobuf",
    ],
)
def test_source_policy_that_may_replace_sources_is_an_unknown_part(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text, encoding="utf-8")
    (part,) = source_policy_parts(file)
    assert (part.kind, part.name) == ("unknown", SOURCE_POLICY)


def test_source_policy_file_is_relative_to_the_folder_of_the_build(tmp_path: Path) -> None:
    assert source_policy_file({SOURCE_POLICY: "policy.json"}, tmp_path) == tmp_path / "policy.json"
    assert source_policy_file({SOURCE_POLICY: ""}, tmp_path) is None
    assert source_policy_file({}, tmp_path) is None
    assert source_policy_parts(tmp_path / "missing.json") == []
    assert source_policy_parts(None) == []
