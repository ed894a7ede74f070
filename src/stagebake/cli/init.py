"""Make a repository that has a Dockerfile ready for `nox -s build`."""

from __future__ import annotations

import argparse

from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers, add_settings
from stagebake.generate.init import init_repository
from stagebake.report.tables import make_console


def add_init_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("init", help="make a repository with a Dockerfile ready for `nox -s build`")
    verb.set_defaults(run=run_init)
    add_settings(verb)
    verb.add_argument("--yes", action="store_true", help="overwrite without asking")
    verb.add_argument(
        "--branch", action="append", default=[], metavar="NAME",
        help="another branch whose pushes the workflow builds, beside the default one; may be given several times",
    )  # fmt: skip
    verb.add_argument("--make-room", action="store_true", help="let the workflow free some 25 GB of the runner's disk")


def run_init(options: argparse.Namespace) -> int:
    """Writes what is not there, and asks before it overwrites."""
    command = read_command(options)
    branches = tuple(dict.fromkeys((command.default_branch, *options.branch)))
    return init_repository(
        command.graph,
        command.settings,
        make_console(),
        overwrite=options.yes,
        branches=branches,
        make_room=options.make_room,
    )
