"""The flags that verbs share, and the settings that come of them."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any, TypeAlias

from stagebake.project.setting_kinds import parse_pairs
from stagebake.project.settings import SETTING_KEYS, Settings, load_settings

VerbParsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a verb is added to."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    for name, metavar in (("image", "REF"), ("cache", "NAME"), ("target", "STAGE")):
        key = SETTING_KEYS[name]
        parser.add_argument(key.flag_name, metavar=metavar, help=key.meaning)
    parser.add_argument(
        "--context", action="append", default=[], metavar="NAME=VALUE",
        help="put something in the place of an image, as bake's `contexts` does; may be given several times",
    )  # fmt: skip


def add_build_choices(parser: argparse.ArgumentParser) -> None:
    """What a build and the plan of one are asked alike."""
    parser.add_argument(
        "--no-cache", nargs="*", metavar="STAGE",
        help="rebuild these stages and what depends on them; all if none is named",
    )  # fmt: skip
    parser.add_argument(
        "--scope", metavar="NAME", help="whose caches are read first and written (default: the branch's)"
    )
    parser.add_argument(
        "--expect", action="append", default=[], metavar="restore:STAGE,…",
        help="exit 1 when these stages are not restored (or `rebuild:STAGE,…` not rebuilt)",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="all reasons, not three for each stage")


def add_history(parser: argparse.ArgumentParser, *, commits: int) -> None:
    add_settings(parser)
    parser.add_argument(
        "--commits", type=_count, default=commits, metavar="N", help=f"look at the last N (default: {commits})"
    )
    parser.add_argument(
        "--seconds", action="append", default=[], metavar="STAGE=SECONDS,…", help="how long stages take to build"
    )
    parser.add_argument(
        "--times", type=Path, metavar="FILE.json", help="take these from the --report of a build (default: the ledger)"
    )
    parser.add_argument("--json", action="store_true", help="print it for machines")
    parser.set_defaults(push=False, scope=None)


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a count")
    return int(text)


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings of this folder with the flags over them; a verb may lack some of these. Raises InputError."""
    given = vars(options)
    flags: dict[str, Any] = {key: given.get(key) for key in ("image", "cache", "target")}
    flags["contexts"] = parse_pairs(given.get("context", ()), "--context") or None
    flags["secrets"] = tuple(given.get("secret", ())) or None
    return load_settings(Path(), os.environ, flags)
