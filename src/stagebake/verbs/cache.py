"""Look after the caches in the registry."""

from __future__ import annotations

import argparse
import os

from stagebake import packages, purge, report
from stagebake.errors import InputError
from stagebake.packages import Packages
from stagebake.registry import Registry, credentials
from stagebake.verbs import flags, job


def add(verbs: flags.Verbs) -> None:
    """Its flags."""
    verb = verbs.add_parser("cache", help="look after the caches in the registry")
    purging = verb.add_subparsers(required=True, metavar="WHAT").add_parser(
        "purge", help="delete the caches of one branch or pull request, and nothing that another tag names"
    )
    purging.set_defaults(run=run)
    purging.add_argument("--image", metavar="REF", help="repository of the image and its caches")
    purging.add_argument("--scope", required=True, metavar="NAME", help="whose: a branch, or `pr-7` for a pull request")
    purging.add_argument("--dry-run", action="store_true", help="delete nothing; say what would be")


def run(options: argparse.Namespace) -> int:
    """Deletes, and tells what is gone."""
    work = job.here(options)
    image = work.settings.image
    if image is None:
        raise InputError("cache purge: there is no image name", "set `image` under [tool.stagebake], or pass --image")
    store = _packages(image) if image.startswith(f"{packages.HOST}/") else Registry(image)
    purged = purge.purge(store, purge.scope_of(options.scope, work.default_branch), dry_run=options.dry_run)
    report.show_purged(purged, image, report.console(), dry_run=options.dry_run)
    return 0


def _packages(image: str) -> Packages:
    """GitHub's registry deletes nothing itself; its API takes the token that docker is logged in with."""
    login = credentials(packages.HOST)
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or (login and login[1])
    return Packages(image, token, os.environ)
