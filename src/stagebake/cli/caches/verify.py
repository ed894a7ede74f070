"""Check every cache in the registry, and repair what is broken."""

from __future__ import annotations

import argparse

from stagebake.cli.caches.repository import CacheTarget, add_image_flag, open_target
from stagebake.cli.flags import VerbParsers
from stagebake.inventory.cache_tags import name_scopes
from stagebake.inventory.damage import CacheCheck, check_caches, find_lost_stages, plan_repairs
from stagebake.report.cache_tables import check_json, show_check
from stagebake.report.tables import make_console


def add_verify_parser(actions: VerbParsers) -> None:
    """Add the action and its flags."""
    action = actions.add_parser(
        "verify", help="check the tag, the config and the blobs of every cache; exit with 1 if something is broken"
    )
    action.set_defaults(run=run_cache_verify)
    add_image_flag(action)
    action.add_argument("--deep", action="store_true", help="download every blob and compare its bytes with its digest")
    action.add_argument("--repair", action="store_true", help="drop what is broken; the next build rebuilds it")
    action.add_argument("--json", action="store_true", help="print JSON for machines")


def run_cache_verify(options: argparse.Namespace) -> int:
    """Print what is broken. Return 1 if something is and stays broken, or could not be checked; else 0."""
    target = open_target(options, "verify")
    registry = target.registry
    check = check_caches(registry, registry.list_tags(), registry.hash_blobs if options.deep else None)
    repaired = _repair_caches(target, check) if options.repair else frozenset()
    suffixes = {checked.tag.suffix for checked in check.tags}
    command = target.command
    names = name_scopes(suffixes, command.default_branch, command.checkout.known_branches())
    lost = {names[suffix]: stages for suffix, stages in find_lost_stages(check).items()}
    if options.json:
        print(check_json(check, target.image, lost, repaired, deep=options.deep), end="")
    else:
        show_check(check, target.image, lost, repaired, make_console(), deep=options.deep)
    is_broken = check.damaged_tags - repaired or check.unread
    return 1 if is_broken else 0


def _repair_caches(target: CacheTarget, check: CacheCheck) -> frozenset[str]:
    """Push or delete what repairs the damaged tags; return the repaired ones. Raises RegistryError."""
    repaired: set[str] = set()
    stored = {checked.tag.tag: checked.manifest for checked in check.tags}
    for tag, document in plan_repairs(check).items():
        manifest = stored[tag]
        if document is not None:
            target.registry.push_manifest(document, tag)
            repaired.add(tag)
        elif manifest is not None and _delete_tag(target, tag, manifest.digest):
            repaired.add(tag)
    return frozenset(repaired)


def _delete_tag(target: CacheTarget, tag: str, digest: str) -> bool:
    """Delete a manifest that no other tag names. Return whether it is deleted. Raises RegistryError."""
    for version in target.versions.list_versions():
        if version.digest == digest and version.tags == {tag}:
            return target.versions.delete_version(version) is None
    return False
