"""Match paths against ignore patterns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.dockerfile.copy_sources import parent_folders
from stagebake.dockerfile.ignore_file import decode_rules, included_paths, parse_patterns
from tests.pure.fingerprint.test_stage_inputs import BACK, PATHS, RULES

PATTERN_LISTS = st.lists(
    st.sampled_from((*RULES, *BACK, "**", "src/**", "!**/a.txt", "[sd]*/deep", "src/[^x]*")), max_size=5
)


def with_folders(paths: set[str]) -> set[str]:
    """Return the paths and the folders above them."""
    found = set(paths)
    for path in paths:
        found.update(parent_folders(path))
    return found


@settings(max_examples=200, deadline=None)
@given(st.sets(st.sampled_from(PATHS)), PATTERN_LISTS)
def test_included_paths_equals_matching_path_by_path(files: set[str], rules: list[str]) -> None:
    """Include exactly what the matcher of the library includes path by path, and the folders above these paths."""
    patterns = parse_patterns(rules)
    paths = with_folders(files)
    included = {path for path in paths if not patterns.matches(path)}
    assert included_paths(sorted(paths), patterns) == sorted(with_folders(included))


def test_is_ignored_last_matching_pattern_decides() -> None:
    """Ignore what is in an ignored folder, unless a later pattern includes it again."""
    level = parse_patterns(["src", "!src/keep.txt"]).top.enter_folder("src")
    assert level.is_ignored("src/a.txt")
    assert not level.is_ignored("src/keep.txt")


def test_parse_patterns_invalid_pattern_raises() -> None:
    with pytest.raises(ValueError, match="syntax error in pattern"):
        parse_patterns(["[a"]).matches("a")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\nb\n", "a\nb\n"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"\xef\xbb\xbfa\n", "a\n"),
        (b"# Pr\xe9\na\n", "# Pr\ufffd\na\n"),
    ],
    ids=["plain", "crlf", "byte-order-mark", "latin-1"],
)
def test_decode_rules_reads_every_encoding_as_buildkit_does(content: bytes, text: str) -> None:
    assert decode_rules(content) == text
