"""Write docker-bake.hcl from the Dockerfile, and the stages into the workflow."""

from __future__ import annotations

import argparse
from pathlib import Path

from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers, add_settings
from stagebake.errors import InputError
from stagebake.files import read_text, text_difference, write_file
from stagebake.generate.bake_file import BAKE_FILE, OVERRIDE_FILE, is_generated, render_bake_file
from stagebake.generate.workflow import WORKFLOW_FILE, has_lost_stage_list, update_stage_list
from stagebake.report.tables import make_console


def add_generate_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("generate", help=f"write {BAKE_FILE} from the Dockerfile")
    verb.set_defaults(run=run_generate)
    add_settings(verb)
    verb.add_argument("--check", action="store_true", help="write nothing; fail with a diff when the file is stale")


def run_generate(options: argparse.Namespace) -> int:
    """Writes what is stale, or with --check fails."""
    command = read_command(options)
    settings, graph = command.settings, command.graph
    _refuse_foreign(settings.root / BAKE_FILE)
    texts = {settings.root / BAKE_FILE: render_bake_file(graph, settings)}
    runs = settings.root / WORKFLOW_FILE
    if runs.is_file():
        texts[runs] = update_stage_list(read_text(runs), graph)
        if has_lost_stage_list(texts[runs]):
            make_console(stderr=True).print(f"{runs}: without `options: […]  # the stages` they are yours to keep")
    for path, text in texts.items():
        _update(path, text, check=options.check)
    return 0


def _refuse_foreign(path: Path) -> None:
    if path.is_file() and not is_generated(read_text(path)):
        raise InputError(
            f"{path}:1: this bake file was not written by stagebake",
            f"rename it to {OVERRIDE_FILE}, which is laid over the generated one; or `stagebake init --yes`",
        )


def _update(path: Path, text: str, *, check: bool) -> None:
    difference = text_difference(path, text)
    console = make_console()
    if not difference:
        console.print(f"{path} is up to date")
    elif check:
        console.print(difference, end="")
        raise InputError(f"{path} is stale", "run `nox -s generate` and commit what it writes")
    else:
        write_file(path, text)
        console.print(f"wrote {path}")
