"""Add the verb `cache` with its actions."""

from __future__ import annotations

from stagebake.cli.caches.ls import add_ls_parser
from stagebake.cli.caches.prune import add_prune_parser
from stagebake.cli.caches.purge import add_purge_parser
from stagebake.cli.caches.verify import add_verify_parser
from stagebake.cli.flags import VerbParsers

_ACTIONS = (add_ls_parser, add_verify_parser, add_prune_parser, add_purge_parser)


def add_cache_parser(verbs: VerbParsers) -> None:
    """Add the verb `cache`, its actions and their flags."""
    verb = verbs.add_parser("cache", help="list, check and delete caches in the registry")
    actions = verb.add_subparsers(required=True, metavar="ACTION")
    for add_action in _ACTIONS:
        add_action(actions)
