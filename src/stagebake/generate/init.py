"""Makes a repository that has a Dockerfile ready for `nox -s build`."""

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
"""`nox -s build` builds the image: what did not change is restored, what did is rebuilt."""

{_IMPORT}'''


def init_repository(
    graph: StageGraph,
    settings: Settings,
    console: Console,
    *,
    overwrite: bool,
    branches: Sequence[str] = ("main",),
    make_room: bool = False,
) -> int:
    """Writes noxfile.py, docker-bake.hcl, the settings and the GitHub workflow; asks before it overwrites. Returns 0.

    Where nobody can be asked, what is there stays as it is, and what it lacks is said. `branches`, the default one
    first, and `make_room` are the workflow's.
    """
    settings_file, settings_text = _settings_file(settings)
    drafts = {
        settings_file: settings_text,
        BAKE_FILE: render_bake_file(graph, settings),
        "noxfile.py": _noxfile(settings.root / "noxfile.py"),
        WORKFLOW_FILE: render_workflow(
            graph,
            settings,
            branches=branches,
            install=f"stagebake=={version('stagebake')}",
            full_minutes=math.ceil(settings.budgets["full"]),
            make_room=make_room,
        ),
    }
    for name, text in drafts.items():
        _offer(settings.root / name, text, console, overwrite=overwrite)
    for place in _other_builds(settings.root):
        console.print(f"{place} builds an image too: take that step out, or each push is built twice")
    console.print("next: `nox -s build`")
    return 0


def _other_builds(root: Path) -> list[str]:
    """Where other workflows build an image, as `file:line`."""
    others = sorted(
        path for path in (root / WORKFLOW_FILE).parent.glob("*.y*ml") if path.name != Path(WORKFLOW_FILE).name
    )
    return [
        f"{path.relative_to(root)}:{number}"
        for path in others
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if re.search(r"^\s*(- )?uses: *docker/(build-push|bake)-action@", line)
    ]


def _noxfile(path: Path) -> str:
    """A new noxfile, or the one that is there with the sessions added, where it has none of these names itself."""
    if not path.is_file():
        return _NOXFILE
    text = read_text(path)
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return _NOXFILE
    if any(isinstance(node, ast.ImportFrom) and node.module == sessions.__name__ for node in nodes):
        return text
    clashes = {name for node in nodes for name in _names(node)} & set(__all__)
    return _NOXFILE if clashes else f"{text.rstrip()}\n\n{_IMPORT}"


def _names(node: ast.AST) -> Iterator[str]:
    """What a piece of a noxfile defines, assigns or imports, and what it gives a session as its `name`."""
    match node:
        case ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name
        case ast.keyword(arg="name", value=ast.Constant(value=str(name))):
            yield name


def _offer(path: Path, text: str, console: Console, *, overwrite: bool) -> None:
    if not text_difference(path, text):
        console.print(f"{path} is as it should be")
        return
    if path.exists() and not overwrite and not _appends(path, text):
        console.print(text_difference(path, text), end="")
        if not sys.stdin.isatty() or not Confirm.ask(f"overwrite {path}?", console=console, default=False):
            console.print(f"{path} is kept; the lines above marked `+` are what it lacks")
            return
    write_file(path, text)
    console.print(f"wrote {path}")


def _appends(path: Path, text: str) -> bool:
    """Whether all that is there stays, and something is added behind it."""
    return text.startswith(read_text(path))


def _settings_file(settings: Settings) -> tuple[str, str]:
    """Where the settings go: behind what pyproject.toml has, else into stagebake.toml. Those that are there stay."""
    lines = "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n"  # a JSON string is a TOML one
        for key, value in (
            ("image", _tagged(settings)),
            ("dockerfile", settings.dockerfile if settings.dockerfile != "Dockerfile" else None),
            ("target", settings.target),
            ("cache", settings.cache if settings.cache != "registry" else None),
        )
        if value is not None
    )
    if settings.contexts:
        pairs = (f"{json.dumps(name)} = {json.dumps(value)}" for name, value in sorted(settings.contexts.items()))
        lines += f"contexts = {{ {', '.join(pairs)} }}\n"
    project, own = settings.root / "pyproject.toml", settings.root / "stagebake.toml"
    if own.is_file():
        return own.name, read_text(own)
    alone = own.name, lines or "# The settings of stagebake; the README lists them.\n"
    if not project.is_file():
        return alone
    text = read_text(project)
    if "stagebake" in tomllib.loads(text).get("tool", {}):
        return project.name, text
    joined = f"{text.rstrip()}\n\n[tool.stagebake]\n{lines}"
    return (project.name, joined) if _is_toml(joined) else alone


def _is_toml(text: str) -> bool:
    """Whether it parses: behind `tool = {}` no table of it may follow."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _tagged(settings: Settings) -> str | None:
    return f"{settings.image}:{settings.tag}" if settings.image and settings.tag else settings.image
