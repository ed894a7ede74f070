"""Prepare a repository that has a Dockerfile for `nox -s build`."""

from __future__ import annotations

import ast
import json
import math
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.prompt import Confirm

from stagebake import sessions
from stagebake.dockerfile.stages import StageGraph
from stagebake.files import read_text, text_difference, write_file
from stagebake.generate.bake_file import BAKE_FILE, render_bake_file
from stagebake.generate.workflow import WORKFLOW_FILE, render_workflow
from stagebake.project.settings import Settings
from stagebake.sessions import __all__

_IMPORT = "from stagebake.sessions import *  # noqa: E402, F403\n"
_NOXFILE = f'''\
"""`nox -s build` builds the image: it restores what did not change and rebuilds what did."""

{_IMPORT}'''

_BUILD_STEP = re.compile(r"\s*(- )?uses: *docker/(build-push|bake)-action@")


def init_repository(
    graph: StageGraph,
    settings: Settings,
    console: Console,
    *,
    overwrite: bool,
    branches: Sequence[str] = ("main",),
    make_room: bool = False,
) -> int:
    """Write noxfile.py, docker-bake.hcl, the settings and the GitHub workflow; return 0.

    Ask before overwriting a file. Without a terminal, keep the file and print what it lacks. `branches`, with the
    default branch first, and `make_room` are options of the workflow.
    """
    root = settings.root
    settings_file, settings_text = _settings_file(settings)
    workflow = render_workflow(
        graph,
        settings,
        branches=branches,
        install=f"stagebake=={version('stagebake')}",
        full_minutes=math.ceil(settings.budgets["full"]),
        make_room=make_room,
    )
    files = {
        settings_file: settings_text,
        BAKE_FILE: render_bake_file(graph, settings),
        "noxfile.py": _noxfile_text(root / "noxfile.py"),
        WORKFLOW_FILE: workflow,
    }
    for name, text in files.items():
        _offer_file(root / name, text, console, overwrite=overwrite)
    for place in _other_builds(root):
        console.print(f"{place} builds an image too: remove that step, or each push is built twice")
    console.print("next: `nox -s build`")
    return 0


def _other_builds(root: Path) -> list[str]:
    """Return the places where other workflows build an image, as `file:line`."""
    own = root / WORKFLOW_FILE
    places: list[str] = []
    for path in sorted(own.parent.glob("*.y*ml")):
        if path.name == own.name:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if _BUILD_STEP.match(line):
                places.append(f"{path.relative_to(root)}:{number}")
    return places


def _noxfile_text(path: Path) -> str:
    """Return a new noxfile, or the existing one with the sessions added if it has no session of these names."""
    if not path.is_file():
        return _NOXFILE
    text = read_text(path)
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return _NOXFILE
    if any(map(_imports_sessions, nodes)):
        return text
    for node in nodes:
        if not set(__all__).isdisjoint(_defined_names(node)):
            return _NOXFILE
    return f"{text.rstrip()}\n\n{_IMPORT}"


def _imports_sessions(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == sessions.__name__


def _defined_names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node of a noxfile defines, assigns or imports, or gives a session as its `name`."""
    match node:
        case ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name
        case ast.keyword(arg="name", value=ast.Constant(value=str(name))):
            yield name


def _offer_file(path: Path, text: str, console: Console, *, overwrite: bool) -> None:
    difference = text_difference(path, text)
    if not difference:
        console.print(f"{path} is up to date")
        return
    if path.exists() and not overwrite and not _only_appends(path, text):
        console.print(difference, end="")
        if not _confirm_overwrite(path, console):
            console.print(f"{path} is kept; it lacks the lines marked `+` above")
            return
    write_file(path, text)
    console.print(f"wrote {path}")


def _only_appends(path: Path, text: str) -> bool:
    """Return True if the text is the file's content with something after it."""
    return text.startswith(read_text(path))


def _confirm_overwrite(path: Path, console: Console) -> bool:
    if not sys.stdin.isatty():
        return False
    return Confirm.ask(f"overwrite {path}?", console=console, default=False)


def _settings_file(settings: Settings) -> tuple[str, str]:
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
    for key in ("dockerfile", "target", "cache"):
        value = getattr(settings, key)
        if value != getattr(defaults, key):
            lines.append(f"{key} = {_toml_string(value)}\n")
    if settings.contexts:
        contexts = sorted(settings.contexts.items())
        pairs = [f"{_toml_string(name)} = {_toml_string(value)}" for name, value in contexts]
        lines.append(f"contexts = {{ {', '.join(pairs)} }}\n")
    return "".join(lines)


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
