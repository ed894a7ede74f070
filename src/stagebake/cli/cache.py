"""Delete caches from the registry."""

from __future__ import annotations

import argparse
import os

from stagebake.cache.prune import named_scope, purge_scope
from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers
from stagebake.errors import InputError
from stagebake.http.credentials import find_login
from stagebake.report.tables import make_console, show_purged
from stagebake.stores.github_packages import HOST, GithubPackages
from stagebake.stores.registry import Registry


def add_cache_parser(verbs: VerbParsers) -> None:
    """Add the verb `cache` and its flags."""
    verb = verbs.add_parser("cache", help="delete caches from the registry")
    actions = verb.add_subparsers(required=True, metavar="ACTION")
    purge = actions.add_parser(
        "purge", help="delete the caches of one branch or pull request; keep content that another tag needs"
    )
    purge.set_defaults(run=run_cache_purge)
    purge.add_argument("--image", metavar="REF", help="repository of the image and its caches")
    purge.add_argument("--scope", required=True, metavar="NAME", help="branch, or `pr-7` for pull request 7")
    purge.add_argument("--dry-run", action="store_true", help="show what would be deleted, delete nothing")


def run_cache_purge(options: argparse.Namespace) -> int:
    """Delete the caches of a branch or pull request, and list them."""
    command = read_command(options)
    image = command.settings.image
    if image is None:
        raise InputError("cache purge: the image has no name", "set `image` under [tool.stagebake], or pass --image")
    scope = named_scope(options.scope, command.default_branch)
    purged = purge_scope(_open_store(image), scope, dry_run=options.dry_run)
    show_purged(purged, image, make_console(), dry_run=options.dry_run)
    return 0


def _open_store(image: str) -> GithubPackages | Registry:
    """Return what deletes versions of the image: on ghcr.io GitHub's API, which accepts the token of `docker login`."""
    if not image.startswith(f"{HOST}/"):
        return Registry(image)
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    login = find_login(HOST)
    if not token and login:
        token = login.password or login.identity_token
    return GithubPackages(image, token, os.environ)
