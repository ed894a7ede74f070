"""Notes of a release."""

from __future__ import annotations

import pytest

from tools.release_notes import read_notes

PYPROJECT = '[project]\nversion = "0.2.0"\n'
CHANGELOG = "# Changelog\n\n## 0.2.0 (2026-12-01)\n\n### Added\n\n- One.\n\n## 0.1.0\n\n- Zero.\n"


def test_read_notes_returns_the_section_of_the_version() -> None:
    assert read_notes("v0.2.0", CHANGELOG, PYPROJECT) == "### Added\n\n- One.\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "problem"),
    [
        ("v0.3.0", CHANGELOG, "not the version in pyproject.toml: 0.2.0"),
        ("v0.2.0", "## Unreleased\n\n- One.\n", "no section `## 0.2.0`"),
        ("v0.2.0", "## 0.2.0\n\n## 0.1.0\n\n- Zero.\n", "no section `## 0.2.0`"),
        ("v0.2.0", "## 0.2.01\n\n- One.\n", "no section `## 0.2.0`"),
    ],
)
def test_read_notes_of_a_release_that_is_not_ready_raises(tag: str, changelog: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_notes(tag, changelog, PYPROJECT)
