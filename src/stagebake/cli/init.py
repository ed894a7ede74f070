"""Prepare a repository that has a Dockerfile for `nox -s build`."""

from __future__ import annotations

import argparse

from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers, add_settings
from stagebake.generate.init import init_repository
from stagebake.report.tables import make_console


def add_init_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("init", help="prepare a repository that has a Dockerfile for `nox -s build`")
    verb.set_defaults(run=run_init)
    add_settings(verb)
    verb.add_argument("--yes", action="store_true", help="overwrite without asking")
    verb.add_argument(
        "--branch", action="append", default=[], metavar="NAME",
        help="build the pushes of this branch, too, not only of the default branch; repeatable",
    )  # fmt: skip
    verb.add_argument(
        "--make-room",
        action="store_true",
        help="add a step to the workflow that frees about 25 GB of the runner's disk",
    )


def run_init(options: argparse.Namespace) -> int:
    """Write the files that are missing; ask before overwriting a file; return 0."""
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
