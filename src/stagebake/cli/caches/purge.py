"""Delete the caches of one branch or pull request from the registry."""

from __future__ import annotations

import argparse

from stagebake.cache.prune import named_scope, purge_scope
from stagebake.cli.caches.repository import add_image_flag, open_versions
from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers
from stagebake.errors import InputError
from stagebake.report.tables import make_console, show_purged


def add_purge_parser(actions: VerbParsers) -> None:
    """Add the action and its flags."""
    action = actions.add_parser(
        "purge", help="delete the caches of one branch or pull request; keep content that another tag needs"
    )
    action.set_defaults(run=run_cache_purge)
    add_image_flag(action)
    action.add_argument("--scope", required=True, metavar="NAME", help="branch, or `pr-7` for pull request 7")
    action.add_argument("--dry-run", action="store_true", help="show what would be deleted, delete nothing")


def run_cache_purge(options: argparse.Namespace) -> int:
    """Delete the caches of a branch or pull request, and list them."""
    command = read_command(options)
    image = command.settings.image
    if image is None:
        raise InputError("cache purge: the image has no name", "set `image` under [tool.stagebake], or pass --image")
    scope = named_scope(options.scope, command.default_branch)
    purged = purge_scope(open_versions(image), scope, dry_run=options.dry_run)
    show_purged(purged, image, make_console(), dry_run=options.dry_run)
    return 0
