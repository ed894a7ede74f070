"""Prepare a repository that has a Dockerfile for `nox -s build`."""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.prompt import Confirm

from stagebake import sessions
from stagebake.dockerfile.stages import StageGraph
from stagebake.files import read_text, text_difference, write_file
from stagebake.generate.bake_file import BAKE_FILE, OVERRIDE_FILE, render_bake_file
from stagebake.generate.settings_file import has_settings, render_settings_file
from stagebake.generate.workflow import WORKFLOW_FILE, render_workflow
from stagebake.migration.takeover import Takeover
from stagebake.project.settings import Settings
from stagebake.sessions import __all__

_IMPORT = "from stagebake.sessions import *  # noqa: E402, F403\n"
_NOXFILE = f'''\
"""`nox -s build` builds the image: it restores what did not change and rebuilds what did."""

{_IMPORT}'''

_BUILD_STEP = re.compile(r"\s*(- )?uses: *docker/(build-push|bake)-action@")


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """Choices for the files that `init` writes.

    `overwrite` replaces files without asking; `dry_run` writes nothing. `branches`, with the default branch first,
    `make_room` and `install`, the command that installs stagebake, are options of the workflow.
    """

    overwrite: bool = False
    dry_run: bool = False
    branches: Sequence[str] = ("main",)
    make_room: bool = False
    install: str = "pip install stagebake"


_DEFAULT_OPTIONS = InitOptions()
_NO_TAKEOVER = Takeover()


def init_repository(
    graph: StageGraph,
    settings: Settings,
    console: Console,
    options: InitOptions = _DEFAULT_OPTIONS,
    takeover: Takeover = _NO_TAKEOVER,
) -> int:
    """Write noxfile.py, docker-bake.hcl, the settings and the GitHub workflow; return 0.

    First print what is taken over from the build that the repository has. Ask before overwriting a file. Without a
    terminal, keep the file and print what it lacks.
    """
    root = settings.root
    had_settings = has_settings(root)
    _print_decisions(takeover, console)
    changed: list[Path] = []
    for name, text in _file_texts(graph, settings, options, takeover).items():
        if _offer_file(root / name, text, console, options):
            changed.append(root / name)
    if had_settings:
        _print_unwritten_settings(settings, takeover, console)
    for place in _other_builds(root):
        console.print(f"{place} builds an image too: remove that step, or each push is built twice")
    if changed:
        console.print(f"to undo this: git restore or remove {' '.join(map(str, changed))}")
    console.print("next: `nox -s build`")
    return 0


def _file_texts(graph: StageGraph, settings: Settings, options: InitOptions, takeover: Takeover) -> dict[str, str]:
    """Return the texts of all files, by path."""
    settings_file, settings_text = render_settings_file(settings)
    workflow = render_workflow(
        graph,
        settings,
        branches=options.branches,
        install=options.install,
        full_minutes=math.ceil(settings.budgets["full"]),
        make_room=options.make_room,
        parts=takeover.parts,
    )
    texts = {
        settings_file: settings_text,
        BAKE_FILE: render_bake_file(graph, settings),
        "noxfile.py": _noxfile_text(settings.root / "noxfile.py"),
        WORKFLOW_FILE: workflow,
    }
    if takeover.override_text:
        texts[OVERRIDE_FILE] = takeover.override_text
    return texts


def _print_decisions(takeover: Takeover, console: Console) -> None:
    if not takeover.decisions:
        return
    console.print(f"taken over from {takeover.place} ({takeover.kind}):")
    for decision in takeover.decisions:
        console.print(f"  {decision.format_line()}")


def _print_unwritten_settings(settings: Settings, takeover: Takeover, console: Console) -> None:
    """Print the settings that a settings file of the user's own lacks: `init` does not edit it."""
    missing = [key for key in takeover.settings if key not in settings.origins]
    name, _ = render_settings_file(settings)
    if missing:
        console.print(f"{name} is kept; add to it what was taken over: {', '.join(missing)}")


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


def _offer_file(path: Path, text: str, console: Console, options: InitOptions) -> bool:
    """Write a file, ask first where it would be overwritten; return whether it was written."""
    difference = text_difference(path, text)
    if not difference:
        console.print(f"{path} is up to date")
        return False
    if options.dry_run:
        console.print(difference, end="")
        return False
    if path.exists() and not options.overwrite and not _only_appends(path, text):
        console.print(difference, end="")
        if not _confirm_overwrite(path, console):
            console.print(f"{path} is kept; it lacks the lines marked `+` above")
            return False
    write_file(path, text)
    console.print(f"wrote {path}")
    return True


def _only_appends(path: Path, text: str) -> bool:
    """Return True if the text is the file's content with something after it."""
    return text.startswith(read_text(path))


def _confirm_overwrite(path: Path, console: Console) -> bool:
    if not sys.stdin.isatty():
        return False
    return Confirm.ask(f"overwrite {path}?", console=console, default=False)
