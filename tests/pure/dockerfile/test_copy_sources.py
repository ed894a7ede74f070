"""Choose the files that a COPY takes."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.copy_sources import PathSelector

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
    """Return the files and links that a source stands for."""
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
def test_choose_paths_wildcards_match_like_go(source: str, files: set[str]) -> None:
    """Match a star within a folder, two stars as one, and a folder with all files below it."""
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
def test_choose_paths_links_are_followed_as_sources_and_kept_in_folders(source: str, files: set[str]) -> None:
    """Follow a link that is named or that a wildcard finds, within the context; a cycle and a way out lead nowhere.

    Copy a link in a copied folder as it is.
    """
    assert chosen(source) == files


def test_choose_paths_excludes_are_relative_to_the_source() -> None:
    """Follow links with `--exclude`, and never exclude a source itself."""
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


def test_choose_paths_parents_match_from_root_or_pivot() -> None:
    """With `--parents`, two stars cross folders, and the pattern begins after `/./`."""
    assert chosen("docs/**/*.md", parents=True) == {"docs/a.md", "docs/sub/c.md"}
    assert chosen("lib/./x/*.txt", parents=True) == {"lib/x/one.txt"}
    assert set(SELECTOR.choose_paths("lib/x/one.txt", parents=True)) == {"lib", "lib/x", "lib/x/one.txt"}


def test_choose_paths_invalid_pattern_raises() -> None:
    with pytest.raises(ValueError, match="syntax error in pattern"):
        SELECTOR.choose_paths("[a")
