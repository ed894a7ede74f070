"""Look after the caches in the registry."""

from __future__ import annotations

import argparse
import os

from stagebake.cache.prune import named_scope, purge_scope
from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers
from stagebake.errors import InputError
from stagebake.report.tables import make_console, show_purged
from stagebake.stores.credentials import find_login
from stagebake.stores.github_packages import HOST, GithubPackages
from stagebake.stores.registry import Registry


def add_cache_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("cache", help="look after the caches in the registry")
    purging = verb.add_subparsers(required=True, metavar="WHAT").add_parser(
        "purge", help="delete the caches of one branch or pull request, and nothing that another tag names"
    )
    purging.set_defaults(run=run_cache_purge)
    purging.add_argument("--image", metavar="REF", help="repository of the image and its caches")
    purging.add_argument("--scope", required=True, metavar="NAME", help="whose: a branch, or `pr-7` for a pull request")
    purging.add_argument("--dry-run", action="store_true", help="delete nothing; say what would be")


def run_cache_purge(options: argparse.Namespace) -> int:
    """Deletes, and tells what is gone."""
    command = read_command(options)
    image = command.settings.image
    if image is None:
        raise InputError("cache purge: there is no image name", "set `image` under [tool.stagebake], or pass --image")
    store = _packages(image) if image.startswith(f"{HOST}/") else Registry(image)
    purged = purge_scope(store, named_scope(options.scope, command.default_branch), dry_run=options.dry_run)
    show_purged(purged, image, make_console(), dry_run=options.dry_run)
    return 0


def _packages(image: str) -> GithubPackages:
    """GitHub's registry deletes nothing itself; its API takes the token that docker is logged in with."""
    login = find_login(HOST)
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or (login and login[1])
    return GithubPackages(image, token, os.environ)
