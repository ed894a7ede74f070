"""Add --link to the last COPYs, where the folders on the way do not get another owner."""

from __future__ import annotations

import pytest

from tests.support.fixes import fix_text


def fix(text: str) -> str:
    fixed, edits = fix_text(text, unsafe=True)
    assert all(edit.changes for edit in edits)
    assert fix_text(text) == (text, [])
    return fixed


def test_links_are_added_to_the_last_copies_together() -> None:
    text = "FROM a AS b\nFROM debian\nCOPY x /x\nRUN y\nWORKDIR /app\nCOPY --from=b /a /usr/local/bin/\n# z\nCOPY z .\n"
    fixed, edits = fix_text(text, unsafe=True)
    assert fixed == text.replace("COPY --from", "COPY --link --from").replace("COPY z", "COPY --link z")
    assert len(edits) == 1


@pytest.mark.parametrize(
    ("stage", "owner", "written"),
    [
        ("FROM node:22-slim\n", "node:node", "1000:1000"),
        ("FROM debian\nRUN groupadd -g 5 web && useradd --uid 6 -g web joe\n", "joe:web", "6:5"),
        ("FROM debian\nRUN groupadd -g 5 web\n", "7:web", "7:5"),
        ("FROM debian\n", "root", "0:0"),
        ("FROM debian\n", "8:9", "8:9"),
    ],
)
def test_links_have_owners_by_number(stage: str, owner: str, written: str) -> None:
    text = f"{stage}COPY --chown={owner} x /app/\n"
    assert fix(text) == f"{stage}COPY --link --chown={written} x /app/\n"


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch\nCOPY x /x\n",
        "FROM debian\nCOPY --chown=joe x /x\n",
        "FROM debian\nRUN useradd -u 6 joe\nCOPY --chown=joe:web x /x\n",
        "FROM debian\nCOPY --chmod=755 x /x\n",
        "FROM debian\nCOPY --link x /x\n",
        "FROM debian\nCOPY --from=other.test/image:1 /x /x\n",
        "FROM debian\nCOPY x /tmp/x\n",
        "FROM debian\nCOPY x /bin/\n",
        "FROM debian\nCOPY x relative\n",
        "FROM debian\nCOPY --chown=5:5 x /opt/x\n",
        "FROM debian\nWORKDIR /app\nCOPY --chown=5:5 x y/\n",
        "FROM debian\nRUN mkdir /app && chown -R 5:5 /app\nCOPY x /app/\n",
        "FROM debian\nCOPY x /x\nRUN y\n",
    ],
)
def test_links_that_do_harm_or_nothing_are_not_added(text: str) -> None:
    assert fix_text(text, unsafe=True) == (text, [])
