"""Render the settings file of a repository: stagebake.toml, or a table in pyproject.toml."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from stagebake.files import read_text
from stagebake.project.settings import Settings

_TEXTS = ("dockerfile", "context", "target", "network", "cache")
_LISTS = ("platforms", "secrets", "ssh")
_TABLES = ("contexts", "args")


def has_settings(root: Path) -> bool:
    """Return True where a repository has settings already, which stay as they are."""
    if (root / "stagebake.toml").is_file():
        return True
    project = root / "pyproject.toml"
    return project.is_file() and "stagebake" in tomllib.loads(read_text(project)).get("tool", {})


def render_settings_file(settings: Settings) -> tuple[str, str]:
    """Return the name and the text of the file for the settings.

    New settings follow the content of pyproject.toml, or are in stagebake.toml if there is no pyproject.toml or it
    cannot have another table. Existing settings stay as they are.
    """
    own = settings.root / "stagebake.toml"
    if own.is_file():
        return own.name, read_text(own)
    lines = _settings_lines(settings)
    own_text = lines or "# The settings of stagebake; the README lists them.\n"
    project = settings.root / "pyproject.toml"
    if not project.is_file():
        return own.name, own_text
    text = read_text(project)
    tools = tomllib.loads(text).get("tool", {})
    if "stagebake" in tools:
        return project.name, text
    joined = f"{text.rstrip()}\n\n[tool.stagebake]\n{lines}"
    if not _is_toml(joined):
        return own.name, own_text
    return project.name, joined


def _settings_lines(settings: Settings) -> str:
    """Return the settings that differ from the defaults as TOML."""
    defaults = Settings()
    lines: list[str] = []
    if settings.image:
        tag = f":{settings.tag}" if settings.tag else ""
        lines.append(f"image = {_toml_string(settings.image + tag)}\n")
    for key in (*_TEXTS, *_LISTS, *_TABLES):
        value = getattr(settings, key)
        if value != getattr(defaults, key):
            lines.append(f"{key} = {_toml_value(value)}\n")
    return "".join(lines)


def _toml_value(value: str | Sequence[str] | Mapping[str, str]) -> str:
    """Return a text, a list of texts or a table of texts as TOML."""
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, Mapping):
        pairs = [f"{_toml_string(name)} = {_toml_string(text)}" for name, text in sorted(value.items())]
        return f"{{ {', '.join(pairs)} }}"
    return f"[{', '.join(_toml_string(text) for text in value)}]"


def _toml_string(text: str) -> str:
    """Return a TOML string; a JSON string is one."""
    return json.dumps(text, ensure_ascii=False)


def _is_toml(text: str) -> bool:
    """Return True if the text parses; after `tool = {}`, for example, no table of `tool` may follow."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True
