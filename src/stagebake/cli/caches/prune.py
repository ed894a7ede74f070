"""Delete caches that no build needs any more."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Collection

from stagebake.ci.github_run import publish_summary
from stagebake.cli.caches.repository import add_image_flag, open_target
from stagebake.cli.command import Command
from stagebake.cli.flags import VerbParsers, parse_count
from stagebake.errors import RegistryError
from stagebake.inventory.cache_tags import find_gone_scopes, find_pull_request, parse_cache_tag
from stagebake.inventory.contents import Contents
from stagebake.inventory.deletion import GRACE_SECONDS, PrunePolicy, plan_prune
from stagebake.inventory.listing import list_caches
from stagebake.inventory.prune_caches import PruneResult, prune_caches
from stagebake.inventory.read_contents import read_times
from stagebake.report.cache_tables import prune_json, prune_markdown, show_prune
from stagebake.report.tables import make_console, print_label
from stagebake.stores.github_branches import GithubBranches

_AGES = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def add_prune_parser(actions: VerbParsers) -> None:
    """Add the action and its flags."""
    action = actions.add_parser(
        "prune", help="delete caches that no tag names, and those that the flags give up; never an image"
    )
    action.set_defaults(run=run_cache_prune)
    add_image_flag(action)
    action.add_argument(
        "--keep", type=parse_count, metavar="N", help="keep N results of each stage: the current one and older ones"
    )
    action.add_argument(
        "--older-than", type=parse_age, metavar="AGE",
        help="delete what is older, such as 30d, but no current result of the default branch",
    )  # fmt: skip
    action.add_argument(
        "--gone", action="store_true", help="delete the caches of branches and pull requests that no longer exist"
    )
    action.add_argument(
        "--grace", type=parse_age, default=GRACE_SECONDS, metavar="AGE",
        help="keep what has no tag for this time, because a build may read it (default: 48h)",
    )  # fmt: skip
    action.add_argument("--dry-run", action="store_true", help="show what would be deleted and freed, delete nothing")
    action.add_argument("--json", action="store_true", help="print JSON for machines")


def parse_age(text: str) -> float:
    """Return an age such as `12h`, `30d` or `2w` in seconds. Raises argparse.ArgumentTypeError."""
    found = re.fullmatch(r"(?P<count>\d+)(?P<unit>[hdw])", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"`{text}` is not an age such as 12h, 30d or 2w")
    return int(found["count"]) * _AGES[found["unit"]]


def run_cache_prune(options: argparse.Namespace) -> int:
    """Delete what the flags and `cache-limit` give up, and print it. Raises RegistryError where it ends early."""
    target = open_target(options, "prune")
    limit = target.command.settings.cache_limit
    contents = target.read_contents()
    times = read_times(target.registry, contents.by_tag.values())
    now = time.time()
    policy = PrunePolicy(
        now=now,
        keep=options.keep,
        older_than=options.older_than,
        gone=_find_gone(target.command, contents) if options.gone else frozenset(),
        limit=limit,
        grace=options.grace,
    )
    plan = plan_prune(contents, times, policy)
    result = PruneResult(deleted=plan.deletions)
    if not options.dry_run:
        result = prune_caches(target.versions, target.registry, plan)
    if options.json:
        print(prune_json(plan, result, target.image, limit, dry_run=options.dry_run), end="")
    else:
        show_prune(plan, result, target.image, limit, make_console(), dry_run=options.dry_run)
    if target.command.on_github:
        listing = list_caches(contents, times, target.name_scopes(contents), now)
        publish_summary(os.environ, prune_markdown(plan, result, listing, target.image, limit), {})
    if result.failure is not None:
        raise result.failure
    return 0


def _find_gone(command: Command, contents: Contents) -> frozenset[str]:
    """Return the suffixes of the scopes whose branch or pull request no longer exists.

    The contents were read before: a branch that is created meanwhile is among the existing ones.
    """
    cache_tags = [parse_cache_tag(tag) for tag in contents.by_tag]
    suffixes = {cache_tag.suffix for cache_tag in cache_tags if cache_tag}
    try:
        branches, pull_requests = _list_existing(command)
    except RegistryError as error:
        _warn(f"--gone: branches and pull requests are kept: {error.problem}; {error.hint}")
        return frozenset()
    if branches is None:
        _warn("--gone: branches are kept, because git's remote `origin` does not answer; check: git ls-remote origin")
    if pull_requests is None and any(find_pull_request(suffix) is not None for suffix in suffixes):
        _warn("--gone: pull requests are kept, because only GitHub's API lists them; set GITHUB_TOKEN")
    return find_gone_scopes(suffixes, branches, pull_requests)


def _list_existing(command: Command) -> tuple[Collection[str] | None, Collection[int] | None]:
    """Return the branches and the open pull requests, each None where it is not known. Raises RegistryError."""
    repository = os.environ.get("GITHUB_REPOSITORY") or command.checkout.remote_repository()
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if repository and token:
        github = GithubBranches(repository, token, os.environ)
        return github.list_branches(), github.list_pull_requests()
    return command.checkout.remote_branches(), None


def _warn(text: str) -> None:
    print_label(make_console(stderr=True), "warning", f": {text}")
