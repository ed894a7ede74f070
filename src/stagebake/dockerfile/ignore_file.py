"""Match paths against `.dockerignore` patterns (moby/patternmatcher). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from e2b_dockerfile_utils import PatternMatcher

PatternCheck = tuple[int, bool, Callable[[str], bool] | None]


class IgnorePatterns(PatternMatcher):
    """Ignore patterns; the last one that matches a path, or a folder that it is in, decides.

    `matches` asks for all the folders above a path each time. A walk that comes from there asks its `top` level, and
    the levels below: many times faster (moby/patternmatcher has MatchesUsingParentResults for it).
    """

    @property
    def top(self) -> IgnoreLevel:
        return IgnoreLevel(self, "", (False,) * len(self._patterns))

    def checks(self, folder: str, above: tuple[bool, ...]) -> Iterator[PatternCheck]:
        """The patterns that can match something right in a folder, those that match the folder itself among them."""
        parts = folder.split("/") if folder else []
        for number, (pattern, hit) in enumerate(zip(self._patterns, above, strict=True)):
            if hit or _can_match(pattern.dirs, parts):
                yield number, pattern.exclusion, None if hit else pattern.match


class IgnoreLevel:
    """What ignore patterns say of the entries of one folder."""

    def __init__(self, patterns: IgnorePatterns, folder: str, above: tuple[bool, ...]) -> None:
        self._patterns = patterns
        self._none = (False,) * len(above)
        self._checks = tuple(patterns.checks(folder, above))

    def ignores(self, path: str) -> bool:
        ignored = False
        for _, exclusion, match in self._checks:
            if match is None or (exclusion == ignored and match(path)):
                ignored = not exclusion
        return ignored

    def enter(self, path: str) -> IgnoreLevel:
        """The level of a folder in this one."""
        ignored = False
        hits = list(self._none)
        for number, exclusion, match in self._checks:
            if match is None or (exclusion == ignored and match(path)):
                ignored, hits[number] = not exclusion, True
        return IgnoreLevel(self._patterns, path, tuple(hits))


def _can_match(pattern: list[str], folder: list[str]) -> bool:
    """Whether a pattern, by its components, can match something right in a folder; in doubt it can."""
    if any(sign in part for part in pattern for sign in ("**", "[", "\\")):
        return True
    literal = not pattern or "*" in pattern[0] or "?" in pattern[0] or not folder or pattern[0] == folder[0]
    return len(pattern) == len(folder) + 1 and literal


def parse_patterns(lines: Iterable[str]) -> IgnorePatterns:
    """Ignore patterns, as those of a `.dockerignore`. Raises ValueError for a pattern that BuildKit refuses."""
    return IgnorePatterns(list(lines))


def included_paths(paths: Iterable[str], patterns: IgnorePatterns) -> list[str]:
    """Those of the sorted paths that ignore rules let in, with the folders they are in: BuildKit is sent these too."""
    levels = {"": patterns.top}
    chosen: set[str] = set()
    for path in paths:
        folder, _, _ = path.rpartition("/")
        if folder not in levels:
            levels[folder] = levels[folder.rpartition("/")[0]].enter(folder)
        if not levels[folder].ignores(path):
            while path and path not in chosen:  # what is above a chosen path is chosen, too
                chosen.add(path)
                path = path.rpartition("/")[0]
    return sorted(chosen)
