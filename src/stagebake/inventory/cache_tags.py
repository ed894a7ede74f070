"""Read the tags of caches: what a tag holds, and whose it is. The reverse of `cache.scopes`. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from stagebake.cache.scopes import Scope

# The tags that cache.scopes writes; the text after the first hyphen is the stage or the mount
_TAG = re.compile(
    r"cache(?P<generation>[1-9])?(?P<kind>\.ledger|\.mount)?(?P<suffix>_[a-z0-9_]*\.[0-9a-f]{10})?(-(?P<name>.+))?"
)
_PULL_REQUEST = re.compile(r"_pr_(?P<number>\d+)\.[0-9a-f]{10}")


class TagKind(Enum):
    """Content that a tag of stagebake should hold."""

    STAGE = "stage"
    MERGED = "merged"
    LEDGER = "ledger"
    MOUNT = "mount"


@dataclass(frozen=True, kw_only=True)
class CacheTag:
    """Tag of stagebake. `suffix` is that of its scope, "" for the default branch; `name` is its stage or mount."""

    tag: str
    kind: TagKind
    suffix: str
    name: str = ""
    generation: int = 0


def parse_cache_tag(tag: str) -> CacheTag | None:
    """Return what a tag of stagebake stands for; None for any other tag."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    generation = int(found["generation"] or 0)
    name = found["name"] or ""
    kind = _find_kind(found["kind"], name)
    has_name = kind in (TagKind.STAGE, TagKind.MOUNT)
    if has_name != bool(name) or (generation and kind is not TagKind.STAGE):
        return None
    return CacheTag(tag=tag, kind=kind, suffix=found["suffix"] or "", name=name, generation=generation)


def _find_kind(word: str | None, name: str) -> TagKind:
    if word == ".ledger":
        return TagKind.LEDGER
    if word == ".mount":
        return TagKind.MOUNT
    return TagKind.STAGE if name else TagKind.MERGED


def find_pull_request(suffix: str) -> int | None:
    """Return the number of the pull request whose scope has this suffix; None for a branch."""
    found = _PULL_REQUEST.fullmatch(suffix)
    if found is None:
        return None
    number = int(found["number"])
    scope = Scope(f"pr-{number}", pull_request=True)
    return number if scope.suffix == suffix else None


def find_gone_scopes(
    suffixes: Iterable[str],
    branches: Collection[str] | None,
    pull_requests: Collection[int] | None,
) -> frozenset[str]:
    """Return the suffixes of the scopes whose branch or pull request is not among the existing ones.

    None means that these are not known; then no such scope is gone. The default branch's is never gone.
    """
    existing = {Scope(branch).suffix for branch in branches or ()}
    gone: set[str] = set()
    for suffix in suffixes:
        number = find_pull_request(suffix)
        if number is None:
            is_gone = bool(branches) and suffix not in existing
        else:
            is_gone = pull_requests is not None and number not in pull_requests
        if suffix and is_gone:
            gone.add(suffix)
    return frozenset(gone)


def name_scopes(suffixes: Iterable[str], default_branch: str, branches: Iterable[str] = ()) -> dict[str, str]:
    """Return a name for the scope of each suffix: the branch or `pr-7`.

    A suffix holds only a part of a branch's name. The scope of a branch that is not among `branches` is named by the
    suffix without its underscore.
    """
    known = {Scope(branch).suffix: branch for branch in branches}
    names: dict[str, str] = {}
    for suffix in suffixes:
        number = find_pull_request(suffix)
        if not suffix:
            names[suffix] = default_branch
        elif number is not None:
            names[suffix] = f"pr-{number}"
        else:
            names[suffix] = known.get(suffix, suffix.removeprefix("_"))
    return names
