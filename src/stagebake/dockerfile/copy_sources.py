"""Which files of a build context a COPY, an ADD or a bind mount takes. Pure.

The rules are those of BuildKit's content hash (moby/buildkit, cache/contenthash/checksum.go) and of COPY
(frontend/dockerfile/dockerfile2llb/convert_copy.go). Where they are intricate this chooses more rather than less: a
file too many may foretell a rebuild that does not come, a file too few would hide one that does.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from stagebake.dockerfile.ignore_file import IgnorePatterns, parse_patterns

_LINKS = 255  # as many links one after the other are a circle (cache/contenthash)
_WILDCARD = re.compile(r"(?:^|[^\\])(?:\\\\)*[*?\[]")
_STARS = re.compile(r"(\\.)|\*+")


class PathSelector:
    """Chooses from the paths of one build context; `links` says where its symbolic links point."""

    def __init__(self, paths: Sequence[str], links: Mapping[str, str]) -> None:
        self._paths = sorted(paths)
        self._links = links

    @property
    def all(self) -> Sequence[str]:
        return self._paths

    def choose_paths(self, source: str, *, parents: bool = False, excludes: Iterable[str] = ()) -> Collection[str]:
        """The paths that a source stands for, with what its links lead to. `parents` is COPY's flag.

        Raises ValueError for a pattern that BuildKit refuses.
        """
        base, slash, pattern = source.partition("/./") if parents else (source, "", "")
        if parents and not slash:
            base, pattern = "/", source
        excluding = parse_patterns(excludes)
        including = parse_patterns([f"/{_clean(pattern)}"]) if parents else None
        found = list(self._bases(_clean(base)))
        plain = not (including or excluding.patterns or _WILDCARD.search(base))
        if plain and len(found) == 1 and not found[0][1]:
            return self._below(found[0][0])
        chosen: set[str] = set()
        for start, via in found:
            chosen.update(via)
            chosen.update(self._filtered(start, including, excluding))
        return chosen if plain else chosen | self._led_to(chosen)

    def _filtered(self, start: str, including: IgnorePatterns | None, excluding: IgnorePatterns) -> Iterator[str]:
        """What is below a path, by patterns that are seen from there; a path itself is never excluded."""
        excludes = bool(excluding.patterns)
        for path in self._below(start):
            inside = path[len(start) + 1 :] if start else path
            if inside and ((excludes and excluding.matches(inside)) or (including and not including.matches(inside))):
                continue
            yield path
            if including:
                yield from parent_folders(path)

    def _bases(self, source: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The paths that a source names, wildcards and links followed, each with the links on the way."""
        literal, wild = _split(source)
        found = self._follow(literal)
        if found is None:
            return
        if not wild:
            yield found
            return
        for path in self._matching(found[0], wild):
            yield self._follow(path) or (path, ())

    def _matching(self, folder: str, components: tuple[str, ...]) -> Iterator[str]:
        if not components:
            yield folder
            return
        matcher = parse_patterns([f"/{_STARS.sub(lambda found: found[1] or '*', components[0])}"])
        for name in self._children.get(folder, ()):
            if matcher.matches(name):
                yield from self._matching(posixpath.join(folder, name), components[1:])

    def _follow(self, path: str) -> tuple[str, tuple[str, ...]] | None:
        """Where a path leads within the context, and the links on the way; None where that is nowhere."""
        via: list[str] = []
        real, rest = "", path.split("/") if path else []
        while rest:
            here = posixpath.join(real, rest.pop(0))
            if here in self._links:
                via.append(here)
                if len(via) > _LINKS:
                    return None
                target = posixpath.join("/", real, self._links[here], *rest)
                real, rest = "", _clean(target).split("/") if _clean(target) else []
            else:
                real = here
        return (real, tuple(via)) if not real or real in self._known else None

    def _below(self, path: str) -> Sequence[str]:
        """The path and all below it."""
        if not path:
            return self._paths
        start = bisect_left(self._paths, f"{path}/")
        return [path, *self._paths[start : bisect_left(self._paths, f"{path}0", start)]]  # 0 comes after /

    def _led_to(self, chosen: set[str]) -> set[str]:
        found = (self._follow(path) for path in chosen if path in self._links)
        return {path for real in found if real for path in (*real[1], *self._below(real[0]))}

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._paths)

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for path in self._paths:
            folder, _, name = path.rpartition("/")
            children.setdefault(folder, []).append(name)
        return children


def _clean(path: str) -> str:
    """Relative to the context's root, which nothing leaves; "" is the root itself."""
    return posixpath.normpath(f"//{path}").lstrip("/")


def _split(source: str) -> tuple[str, tuple[str, ...]]:
    """The folders before the first wildcard, and the components from there on."""
    components = source.split("/")
    wild = next((i for i, part in enumerate(components) if _WILDCARD.search(part)), len(components))
    return "/".join(components[:wild]), tuple(components[wild:])


def parent_folders(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path
