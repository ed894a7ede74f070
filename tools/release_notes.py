"""Print the section of CHANGELOG.md for a release; `python -m tools.release_notes v0.2.0 > notes.md`.

Fail where the tag is not the version of pyproject.toml, or where the section is missing or empty.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def read_notes(tag: str, changelog: str, pyproject: str) -> str:
    """Return the text below `## VERSION`. Raise ValueError where tag, version and changelog do not agree."""
    version = tag.removeprefix("v")
    declared = tomllib.loads(pyproject)["project"]["version"]
    if version != declared:
        raise ValueError(f"the tag {tag} is not the version in pyproject.toml: {declared}")
    found = re.search(rf"^## {re.escape(version)}\b.*\n(?P<notes>(?:(?!^## ).*\n?)*)", changelog, re.MULTILINE)
    notes = found["notes"].strip() if found else ""
    if not notes:
        raise ValueError(f"CHANGELOG.md has no section `## {version}`: rename `## Unreleased`")
    return f"{notes}\n"


def main() -> int:
    """Print the notes of the tag that the command line names; return the exit code."""
    try:
        notes = read_notes(
            sys.argv[1],
            (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
            (_ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(notes, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
