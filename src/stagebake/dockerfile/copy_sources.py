"""Choose the files of a build context that a COPY, an ADD or a bind mount takes.

The rules are those of BuildKit's content hash (moby/buildkit, cache/contenthash/checksum.go) and of COPY
(frontend/dockerfile/dockerfile2llb/convert_copy.go). Where these are intricate, this module chooses too many files
rather than too few: a file too many may predict a rebuild that does not happen, a file too few would hide one.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from stagebake.dockerfile.ignore_file import IgnorePatterns, parse_patterns

_MAX_LINKS = 255  # BuildKit takes more links in a row for a cycle (cache/contenthash)
_WILDCARD = re.compile(r"(?:^|[^\\])(?:\\\\)*[*?\[]")
_STARS = re.compile(r"(\\.)|\*+")


class _FollowedPath(NamedTuple):
    """Path without links in it, and the links on the way to it."""

    path: str
    links: tuple[str, ...]


class PathSelector:
    """Selector of paths in one build context; `links` are the targets of its symbolic links."""

    def __init__(self, paths: Sequence[str], links: Mapping[str, str]) -> None:
        self._paths = sorted(paths)
        self._links = links

    @property
    def all_paths(self) -> Sequence[str]:
        return self._paths

    def choose_paths(
        self,
        source: str,
        *,
        parents: bool = False,
        excludes: Iterable[str] = (),
    ) -> Collection[str]:
        """Return the paths that a source stands for, and what its links lead to. `parents` is the flag of COPY.

        Raises ValueError for a pattern that BuildKit refuses.
        """
        excluding = parse_patterns(excludes)
        including = None
        base = source
        if parents:
            base, pattern = _split_at_pivot(source)
            including = parse_patterns([f"/{_normalize_path(pattern)}"])
        elif not excluding.patterns and not _WILDCARD.search(source):
            return self._choose_plain(_normalize_path(source))
        chosen: set[str] = set()
        for start in self._find_starts(_normalize_path(base)):
            chosen.update(start.links)
            chosen.update(self._filter_below(start.path, including, excluding))
        return chosen | self._find_link_targets(chosen)

    def _choose_plain(self, source: str) -> Collection[str]:
        """Return the paths of a source without patterns."""
        start = self._follow_links(source)
        if start is None:
            return ()
        below = self._list_below(start.path)
        return {*start.links, *below} if start.links else below

    def _filter_below(
        self,
        start: str,
        including: IgnorePatterns | None,
        excluding: IgnorePatterns,
    ) -> Iterator[str]:
        """Return what is below a path, by patterns that are relative to it; the path itself is never excluded."""
        has_excludes = bool(excluding.patterns)
        for path in self._list_below(start):
            inside = path[len(start) + 1 :] if start else path
            if inside and has_excludes and excluding.matches(inside):
                continue
            if inside and including is not None and not including.matches(inside):
                continue
            yield path
            if including is not None:
                yield from parent_folders(path)

    def _find_starts(self, source: str) -> Iterator[_FollowedPath]:
        """Return the paths that a source names, with wildcards and links followed."""
        literal, wild = _split_at_wildcard(source)
        start = self._follow_links(literal)
        if start is None:
            return
        if not wild:
            yield start
            return
        for path in self._match_components(start.path, wild):
            yield self._follow_links(path) or _FollowedPath(path, ())

    def _match_components(self, folder: str, components: tuple[str, ...]) -> Iterator[str]:
        if not components:
            yield folder
            return
        first, rest = components[0], components[1:]
        matcher = _parse_component(first)
        for name in self._children.get(folder, ()):
            if matcher.matches(name):
                path = posixpath.join(folder, name)
                yield from self._match_components(path, rest)

    def _follow_links(self, path: str) -> _FollowedPath | None:
        """Return where a path leads within the context; None where it leads nowhere."""
        links: list[str] = []
        real = ""
        rest = path.split("/") if path else []
        while rest:
            here = posixpath.join(real, rest.pop(0))
            if here not in self._links:
                real = here
                continue
            links.append(here)
            if len(links) > _MAX_LINKS:
                return None
            target = posixpath.join("/", real, self._links[here], *rest)
            target = _normalize_path(target)
            real = ""
            rest = target.split("/") if target else []
        if real and real not in self._known_paths:
            return None
        return _FollowedPath(real, tuple(links))

    def _list_below(self, path: str) -> Sequence[str]:
        """Return the path and everything below it."""
        if not path:
            return self._paths
        first = f"{path}/"
        after_last = f"{path}0"  # "0" follows "/" in ASCII
        start = bisect_left(self._paths, first)
        end = bisect_left(self._paths, after_last, start)
        return [path, *self._paths[start:end]]

    def _find_link_targets(self, chosen: set[str]) -> set[str]:
        """Return what the links among these paths lead to."""
        targets: set[str] = set()
        for path in chosen & self._links.keys():
            found = self._follow_links(path)
            if found is not None:
                targets.update(found.links)
                targets.update(self._list_below(found.path))
        return targets

    @cached_property
    def _known_paths(self) -> frozenset[str]:
        return frozenset(self._paths)

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        """Return the names in each folder."""
        children: dict[str, list[str]] = {}
        for path in self._paths:
            folder, _, name = path.rpartition("/")
            children.setdefault(folder, []).append(name)
        return children


def parent_folders(path: str) -> Iterator[str]:
    """Return the folders that a path is in, the nearest first."""
    folder, _, _ = path.rpartition("/")
    while folder:
        yield folder
        folder, _, _ = folder.rpartition("/")


def _normalize_path(path: str) -> str:
    """Return a path relative to the root of the context, which no path leaves; "" is the root itself."""
    return posixpath.normpath(f"//{path}").lstrip("/")


def _split_at_pivot(source: str) -> tuple[str, str]:
    """Return the folder before `/./` and the pattern after it; the root where a source has no `/./`."""
    base, pivot, pattern = source.partition("/./")
    return (base, pattern) if pivot else ("/", source)


def _split_at_wildcard(source: str) -> tuple[str, tuple[str, ...]]:
    """Return the folders before the first wildcard, and the components from there on."""
    components = source.split("/")
    for number, component in enumerate(components):
        if _WILDCARD.search(component):
            literal = "/".join(components[:number])
            return literal, tuple(components[number:])
    return source, ()


def _parse_component(component: str) -> IgnorePatterns:
    """Return the pattern of one component, in which several stars are one."""
    single_stars = _STARS.sub(lambda found: found[1] or "*", component)
    return parse_patterns([f"/{single_stars}"])
