"""Which files a COPY takes, and which ignore rules let in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.dockerfile.copy_sources import PathSelector
from stagebake.dockerfile.ignore_file import included_paths, parse_patterns
from tests.pure.fingerprint.test_stage_inputs import BACK, PATHS, RULES

FILES = (
    "app/index.ts",
    "app/page.ts",
    "docs/a.md",
    "docs/b.txt",
    "docs/sub/c.md",
    "docs/sub/d.log",
    "lib/x/one.txt",
    "package.json",
    "tsconfig.json",
)
LINKS = {
    "here": "docs",
    "docs/up": "../app/page.ts",
    "round": "about",
    "about": "round",
    "out": "../../etc",
    "abs": "/lib/x",
}
FOLDERS = ("app", "docs", "docs/sub", "lib", "lib/x")
SELECTOR = PathSelector((*FILES, *FOLDERS, *LINKS), LINKS)


def chosen(source: str, **flags: object) -> set[str]:
    """The files and links that a source stands for."""
    return set(SELECTOR.choose_paths(source, **flags)) - set(FOLDERS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("app", {"app/index.ts", "app/page.ts"}),
        ("./app/", {"app/index.ts", "app/page.ts"}),
        ("/../../app", {"app/index.ts", "app/page.ts"}),
        ("docs/../app", {"app/index.ts", "app/page.ts"}),
        ("app/page.ts", {"app/page.ts"}),
        ("ap", set()),
        ("nothing", set()),
        ("*.json", {"package.json", "tsconfig.json"}),
        ("[pt]*.json", {"package.json", "tsconfig.json"}),
        ("[^p]*.json", {"tsconfig.json"}),
        ("?ackage.json", {"package.json"}),
        ("docs/*/*.md", {"docs/sub/c.md"}),
        ("lib/**", {"lib/x/one.txt"}),
        ("*/*.txt", {"docs/b.txt"}),
        ("**.json", {"package.json", "tsconfig.json"}),
    ],
)
def test_a_source_stands_for_files(source: str, files: set[str]) -> None:
    """Wildcards are Go's: a star stays within a folder, and two are one; a folder stands for all below it."""
    assert chosen(source) == files


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("here/b.txt", {"here", "docs/b.txt"}),
        ("here/sub", {"here", "docs/sub/c.md", "docs/sub/d.log"}),
        ("docs/up", {"docs/up", "app/page.ts"}),
        ("abs", {"abs", "lib/x/one.txt"}),
        ("round", set()),
        ("out", set()),
        ("docs", {"docs/a.md", "docs/b.txt", "docs/sub/c.md", "docs/sub/d.log", "docs/up"}),
        ("docs/*", {"docs/a.md", "docs/b.txt", "docs/sub/c.md", "docs/sub/d.log", "docs/up", "app/page.ts"}),
    ],
)
def test_links_are_followed_as_a_source_and_kept_within_a_folder(source: str, files: set[str]) -> None:
    """A link that is named, or that a wildcard finds, counts with what it leads to, within the context; a circle and a
    way out lead nowhere. A link within a folder that is copied is copied as it is."""
    assert chosen(source) == files


def test_excludes_are_seen_from_the_source() -> None:
    """`--exclude` is seen from the folder that is copied, and follows links; a source itself is never excluded."""
    assert chosen("docs", excludes=["*.md"]) == {
        "docs/b.txt",
        "docs/sub/c.md",
        "docs/sub/d.log",
        "docs/up",
        "app/page.ts",
    }
    assert chosen("docs", excludes=["**/*.md", "up", "sub/d.*"]) == {"docs/b.txt"}
    assert chosen("docs", excludes=["docs/*"]) == chosen("docs", excludes=["zzz"])
    assert chosen("package.json", excludes=["*.json"]) == {"package.json"}


def test_parents_are_patterns_from_the_root_or_the_pivot() -> None:
    """With `--parents` two stars cross folders, and `/./` says where the pattern begins."""
    assert chosen("docs/**/*.md", parents=True) == {"docs/a.md", "docs/sub/c.md"}
    assert chosen("lib/./x/*.txt", parents=True) == {"lib/x/one.txt"}
    assert set(SELECTOR.choose_paths("lib/x/one.txt", parents=True)) == {"lib", "lib/x", "lib/x/one.txt"}


def test_a_pattern_that_buildkit_refuses() -> None:
    """It is refused here too."""
    with pytest.raises(ValueError, match="syntax error in pattern"):
        SELECTOR.choose_paths("[a")


ANYTHING = st.lists(
    st.sampled_from((*RULES, *BACK, "**", "src/**", "!**/a.txt", "[sd]*/deep", "src/[^x]*")), max_size=5
)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.sampled_from(PATHS)), ANYTHING)
def test_ignore_rules_asked_folder_by_folder_say_the_same(files: set[str], rules: list[str]) -> None:
    """The quick walk lets in exactly what the library's matcher lets in path by path, and the folders of that."""
    folders = {"/".join(path.split("/")[:end]) for path in files for end in range(1, path.count("/") + 1)}
    patterns = parse_patterns(rules)
    let_in = {path for path in files | folders if not patterns.matches(path)}
    above = {"/".join(path.split("/")[:end]) for path in let_in for end in range(1, path.count("/") + 1)}
    assert included_paths(sorted(files | folders), patterns) == sorted(let_in | above)
