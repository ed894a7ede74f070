"""Define the flags that several verbs share, and read the settings with them."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.cli.completion import offer_stages
from stagebake.project.setting_kinds import parse_pairs
from stagebake.project.settings import SETTING_KEYS, Settings, load_settings

VerbParsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Parser to which a module adds its verb."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the flags of settings that every verb about stages has."""
    for name, metavar in (("image", "REF"), ("cache", "NAME")):
        key = SETTING_KEYS[name]
        parser.add_argument(key.flag_name, metavar=metavar, help=key.meaning)
    target = SETTING_KEYS["target"]
    offer_stages(parser.add_argument(target.flag_name, metavar="STAGE", help=target.meaning))
    parser.add_argument(
        "--context", action="append", default=[], metavar="NAME=VALUE",
        help="use another source for an image (a named context, as in bake's `contexts`); repeatable",
    )  # fmt: skip


def add_build_choices(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `build` and `plan` have in common."""
    no_cache = parser.add_argument(
        "--no-cache", nargs="*", metavar="STAGE",
        help="rebuild these stages and the stages that depend on them (without names: all stages)",
    )  # fmt: skip
    offer_stages(no_cache)
    parser.add_argument(
        "--secret", action="append", default=[], metavar="id=ID,env=NAME|src=FILE",
        help="pass a secret to RUN --mount=type=secret; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--ssh", action="append", default=[], metavar="default|ID=PATH",
        help="pass an ssh agent or key to RUN --mount=type=ssh; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--scope", metavar="NAME", help="branch whose caches are read first and written (default: the current branch)"
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="restore:STAGE,…",
        help="exit with 1 if a stage is not restored (or with `rebuild:STAGE,…` not rebuilt); repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--refresh", action="store_true",
        help="with --push on the default branch: rebuild all stages that are older than `max-age`, not only one",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="print all reasons, not only three for each stage")


def add_history(parser: argparse.ArgumentParser, *, commits: int) -> None:
    """Add the flags of verbs that look at past commits; `commits` is the default number."""
    add_settings(parser)
    parser.add_argument(
        "--commits",
        type=parse_count,
        default=commits,
        metavar="N",
        help=f"number of commits to read (default: {commits})",
    )
    parser.add_argument(
        "--seconds",
        action="append",
        default=[],
        metavar="STAGE=SECONDS,…",
        help="build time of stages, in seconds; repeatable",
    )
    parser.add_argument(
        "--times",
        type=Path,
        metavar="FILE.json",
        help="read build times from the --report of a build (default: from the ledger)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(push=False, scope=None)


def parse_count(text: str) -> int:
    """Return a positive whole number. Raises argparse.ArgumentTypeError."""
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a positive whole number")
    return int(text)


def read_settings(options: argparse.Namespace) -> Settings:
    """Return the settings of this folder; flags override them, as far as the verb has them. Raises InputError."""
    given = vars(options)
    flags: dict[str, Any] = {key: given.get(key) for key in ("image", "cache", "target")}
    flags["contexts"] = parse_pairs(given.get("context", ()), "--context") or None
    flags["secrets"] = tuple(given.get("secret", ())) or None
    flags["ssh"] = tuple(given.get("ssh", ())) or None
    return load_settings(Path(), os.environ, flags)
