"""JSON schema of the settings."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from stagebake.generate.settings_schema import render_schema, settings_schema
from stagebake.project.settings import SETTING_KEYS

ROOT = Path(__file__).parents[3]
GOOD = """
image = "ghcr.io/o/n"
platforms = ["linux/amd64"]
cache-mounts = true
cache-mounts-limit = 5
[args]
A = 1
B = "x"
[budgets]
code = 4.5
[doctor]
ignore = ["unpinned-image"]
"""


def test_settings_schema_accepts_every_kind_of_setting() -> None:
    jsonschema.validate(tomllib.loads(GOOD), settings_schema())


@pytest.mark.parametrize(
    "text",
    [
        "imagee = 'x'",
        "image = 1",
        "platforms = 'linux/amd64'",
        "cache-mounts = 'yes'",
        "cache-mounts-limit = 0",
        "args = { A = [1] }",
        "budgets = { quick = 1 }",
        "doctor = { hide = ['x'] }",
    ],
)
def test_settings_schema_refuses_what_the_settings_refuse(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), settings_schema())


def test_settings_schema_is_a_valid_schema_with_a_meaning_for_each_setting() -> None:
    schema = settings_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["properties"].keys() == SETTING_KEYS.keys()
    assert all(entry["description"] for entry in schema["properties"].values())


def test_settings_schema_accepts_the_examples_of_the_documentation() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs/adopting.md").read_text(), re.MULTILINE | re.DOTALL)
    settings = [tomllib.loads(block) for block in blocks]
    assert settings
    for document in settings:
        jsonschema.validate(document.get("tool", {}).get("stagebake", document), settings_schema())


def test_settings_schema_is_what_the_entry_point_of_validate_pyproject_gives() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    entry = document["project"]["entry-points"]["validate_pyproject.tool_schema"]["stagebake"]
    assert entry == f"{settings_schema.__module__}:{settings_schema.__name__}"
    assert json.loads(render_schema()) == settings_schema("stagebake")
