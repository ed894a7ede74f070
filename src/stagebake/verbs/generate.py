"""Write docker-bake.hcl from the Dockerfile, and the stages into the workflow."""

from __future__ import annotations

import argparse
from pathlib import Path

from stagebake import bakefile, files, report, workflow
from stagebake.errors import InputError
from stagebake.verbs import flags, job


def add(verbs: flags.Verbs) -> None:
    """Its flags."""
    verb = verbs.add_parser("generate", help=f"write {bakefile.NAME} from the Dockerfile")
    verb.set_defaults(run=run)
    flags.add_settings(verb)
    verb.add_argument("--check", action="store_true", help="write nothing; fail with a diff when the file is stale")


def run(options: argparse.Namespace) -> int:
    """Writes what is stale, or with --check fails."""
    work = job.here(options)
    settings, graph = work.settings, work.graph
    _refuse_foreign(settings.root / bakefile.NAME)
    texts = {settings.root / bakefile.NAME: bakefile.render(graph, settings)}
    runs = settings.root / workflow.NAME
    if runs.is_file():
        texts[runs] = workflow.with_stages(files.read(runs), graph)
        if workflow.lost_stages(texts[runs]):
            report.console(stderr=True).print(f"{runs}: without `options: […]  # the stages` they are yours to keep")
    for path, text in texts.items():
        _update(path, text, check=options.check)
    return 0


def _refuse_foreign(path: Path) -> None:
    if path.is_file() and not bakefile.is_ours(files.read(path)):
        raise InputError(
            f"{path}:1: this bake file was not written by stagebake",
            f"rename it to {bakefile.OVERRIDE}, which is laid over the generated one; or `stagebake init --yes`",
        )


def _update(path: Path, text: str, *, check: bool) -> None:
    difference = files.difference(path, text)
    console = report.console()
    if not difference:
        console.print(f"{path} is up to date")
    elif check:
        console.print(difference, end="")
        raise InputError(f"{path} is stale", "run `nox -s generate` and commit what it writes")
    else:
        files.write(path, text)
        console.print(f"wrote {path}")
