"""List what the caches in the registry take."""

from __future__ import annotations

import argparse
import time

from stagebake.cli.caches.repository import CacheTarget, add_image_flag, open_target
from stagebake.cli.flags import VerbParsers
from stagebake.inventory.listing import CacheListing, list_caches
from stagebake.inventory.read_contents import read_times
from stagebake.report.cache_tables import listing_json, show_listing
from stagebake.report.tables import make_console


def add_ls_parser(actions: VerbParsers) -> None:
    """Add the action and its flags."""
    action = actions.add_parser(
        "ls", help="list the caches in the registry by branch and stage: size, age, what is shared"
    )
    action.set_defaults(run=run_cache_ls)
    add_image_flag(action)
    action.add_argument("--json", action="store_true", help="print JSON for machines")


def run_cache_ls(options: argparse.Namespace) -> int:
    """Print the caches as a table or JSON; return 0."""
    target = open_target(options, "ls")
    now = time.time()
    listing = _make_listing(target, now)
    if options.json:
        print(listing_json(listing, target.image), end="")
    else:
        show_listing(listing, target.image, make_console(), now)
    return 0


def _make_listing(target: CacheTarget, now: float) -> CacheListing:
    contents = target.read_contents()
    times = read_times(target.registry, contents.by_tag.values())
    return list_caches(contents, times, target.name_scopes(contents), now)
