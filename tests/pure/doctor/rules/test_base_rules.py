"""Check the rules `base-moves` and `heavy-base`."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("node", "`node` changes with each release"),
        ("node:latest", "`node:latest` changes with each release"),
        ("registry.test:5000/node", "changes with each release"),
        ("node:24-slim", "changes whenever tag `24-slim` moves"),
    ],
)
def test_moving_images_without_digest_is_reported_once(image: str, message: str) -> None:
    """Report an image at the first line that names it."""
    text = f"FROM {image} AS a\nRUN x\nFROM {image} AS b\nCOPY --from=a /x /x\n"
    found = only_finding("base-moves", examine_text(text))
    assert found.line == 1
    assert message in found.problem


def test_moving_images_pinned_or_replaced_is_not_reported() -> None:
    """Leave out an image with a digest, and one that a named context replaces."""
    text = f"FROM a@sha256:{'0' * 64} AS a\nFROM tools:1 AS b\nCOPY --from=a /x /x\n"
    assert "base-moves" not in rule_names(examine_text(text, replaced=frozenset({"tools:1"})))


HEAVY = """\
FROM nvidia/cuda:12 AS base
RUN apt-get install -y nodejs
FROM base AS build
COPY . .
RUN npm run build
FROM base
COPY --from=build /app /app
"""


def test_heavy_bases_stage_that_only_runs_npm_is_reported() -> None:
    found = only_finding("heavy-base", examine_text(HEAVY))
    assert (found.line, found.lines, found.fix) == (3, (5,), ("FROM node:22-slim AS build",))
    assert "stage `build`, which runs nothing but Node.js" in found.problem


def test_heavy_bases_stage_for_the_install_moves_with_it() -> None:
    """Propose the small image for the lowest stage that runs only Node.js, so that its packages stay there."""
    text = HEAVY.replace("FROM base AS build", "FROM base AS deps\nRUN npm ci\nFROM deps AS build")
    found = only_finding("heavy-base", examine_text(text))
    assert (found.line, found.stage, found.fix) == (3, "build", ("FROM node:22-slim AS deps",))


@pytest.mark.parametrize(
    "change",
    [
        ("npm run build", "python3 train.py"),
        ("nvidia/cuda:12", "debian:12"),
        ("FROM base\nCOPY --from=build /app /app\n", "FROM build\n"),
        ("COPY . .\n", "COPY package.json .\n"),
    ],
    ids=["needs-gpu", "light", "is-the-base", "seldom"],
)
def test_heavy_bases_stage_that_needs_its_base_is_not_reported(change: tuple[str, str]) -> None:
    assert "heavy-base" not in rule_names(examine_text(HEAVY.replace(*change)))
