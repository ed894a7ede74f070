"""Describe the settings as JSON schema, for editors and for validate-pyproject."""

from __future__ import annotations

import json
from typing import Any

from stagebake.project.settings import SETTING_KEYS


def settings_schema(tool_name: str = "stagebake") -> dict[str, Any]:
    """Return the JSON schema of [tool.stagebake] and of stagebake.toml.

    validate-pyproject calls this with the name of the table (its documentation, "Writing a plugin").
    """
    properties: dict[str, Any] = {}
    for key in SETTING_KEYS.values():
        properties[key.name] = {"description": key.meaning, **key.kind.json_schema()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": f"urn:{tool_name}:settings",
        "title": "Settings of stagebake",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def render_schema() -> str:
    """Return the schema as the text of a file."""
    return f"{json.dumps(settings_schema(), indent=2)}\n"
