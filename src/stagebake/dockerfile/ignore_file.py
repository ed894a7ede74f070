"""Match paths against the patterns of a `.dockerignore` file (moby/patternmatcher)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from e2b_dockerfile_utils import PatternMatcher


class PatternCheck(NamedTuple):
    """Pattern that can match an entry of a folder; `match` is None where it matches the folder, so every entry."""

    number: int
    is_exclusion: bool
    match: Callable[[str], bool] | None


class IgnorePatterns(PatternMatcher):
    """Ignore patterns; the last one that matches a path, or a folder above it, decides.

    `matches` checks all folders above a path each time. A walk through the folders uses `top` and the levels below
    it instead, which is many times faster (moby/patternmatcher has MatchesUsingParentResults for this).
    """

    @property
    def top(self) -> IgnoreLevel:
        """Return the level of the top folder."""
        return IgnoreLevel(self, "", (False,) * len(self._patterns))

    def checks_in(self, folder: str, matches_folder: tuple[bool, ...]) -> Iterator[PatternCheck]:
        """Return the patterns that can match an entry of a folder.

        `matches_folder` says for each pattern whether it matches the folder itself.
        """
        parts = folder.split("/") if folder else []
        for number, pattern in enumerate(self._patterns):
            if matches_folder[number]:
                yield PatternCheck(number, pattern.exclusion, None)
            elif _can_match(pattern.dirs, parts):
                yield PatternCheck(number, pattern.exclusion, pattern.match)


class IgnoreLevel:
    """Ignore patterns for the entries of one folder."""

    def __init__(self, patterns: IgnorePatterns, folder: str, matches_folder: tuple[bool, ...]) -> None:
        self._patterns = patterns
        self._count = len(matches_folder)
        self._checks = tuple(patterns.checks_in(folder, matches_folder))

    def is_ignored(self, path: str) -> bool:
        """Return whether the last pattern that matches a path of this folder ignores it."""
        ignored = False
        for _, is_exclusion, match in self._checks:
            if match is None or (is_exclusion == ignored and match(path)):
                ignored = not is_exclusion
        return ignored

    def enter_folder(self, path: str) -> IgnoreLevel:
        """Return the level of a folder in this folder."""
        ignored = False
        matches = [False] * self._count
        for number, is_exclusion, match in self._checks:
            if match is None or (is_exclusion == ignored and match(path)):
                ignored = not is_exclusion
                matches[number] = True
        return IgnoreLevel(self._patterns, path, tuple(matches))


def decode_rules(content: bytes) -> str:
    """Return the text of a `.dockerignore` file with `\\n` as its line ends.

    BuildKit sends the patterns as JSON, which has U+FFFD for bytes that are not UTF-8 (measured, 0.25).
    """
    return content.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def parse_patterns(lines: Iterable[str]) -> IgnorePatterns:
    """Return the patterns of a `.dockerignore` file. Raises ValueError for a pattern that BuildKit refuses."""
    return IgnorePatterns(list(lines))


def included_paths(paths: Iterable[str], patterns: IgnorePatterns) -> list[str]:
    """Return the paths that are not ignored and, as BuildKit does, the folders above them.

    The paths must be sorted; so is the result.
    """
    levels = {"": patterns.top}
    chosen: set[str] = set()
    for path in paths:
        folder = _parent_folder(path)
        level = levels.get(folder)
        if level is None:
            above = levels[_parent_folder(folder)]
            level = levels[folder] = above.enter_folder(folder)
        if not level.is_ignored(path):
            while path and path not in chosen:
                chosen.add(path)
                path = _parent_folder(path)
    return sorted(chosen)


def _parent_folder(path: str) -> str:
    """Return the folder that a path is in; "" is the top."""
    folder, _, _ = path.rpartition("/")
    return folder


def _can_match(pattern: list[str], folder: list[str]) -> bool:
    """Return whether a pattern, given by its components, can match an entry of a folder; True in doubt."""
    for part in pattern:
        if "**" in part or "[" in part or "\\" in part:
            return True
    if len(pattern) != len(folder) + 1:
        return False
    first = pattern[0]
    return "*" in first or "?" in first or not folder or first == folder[0]
