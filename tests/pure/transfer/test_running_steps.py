"""Test which steps run after a change."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.transfer.running_steps import ChangedLines, spread_changes

DOCKERFILE = """\
FROM image AS base
ARG VERSION
RUN apt
FROM base AS deps
COPY lock .
RUN install
FROM deps AS builder
COPY src src
RUN build
FROM base AS runtime
WORKDIR /app
COPY --link --from=deps /deps /deps
COPY --from=builder /built /built
RUN chown
CMD run
"""


@pytest.mark.parametrize(
    ("changed", "running"),
    [
        ({}, {}),
        ({"builder": [8]}, {"builder": {1, 2}, "runtime": {3, 4}}),
        ({"builder": [9]}, {"builder": {2}, "runtime": {3, 4}}),
        ({"deps": [5]}, {"deps": {1, 2}, "builder": {1, 2}, "runtime": {2, 3, 4}}),
        ({"base": [2]}, {"base": {2}, "deps": {1, 2}, "builder": {1, 2}, "runtime": {1, 2, 3, 4}}),
        ({"runtime": [11]}, {"runtime": {1, 3, 4}}),
        ({"runtime": [14]}, {"runtime": {4}}),
        ({"runtime": [15]}, {}),
        ({"runtime": None}, {"runtime": {1, 2, 3, 4}}),
    ],
    ids=["nothing", "copy", "run", "stage", "arg", "below-link", "tail", "metadata", "forced"],
)
def test_spread_changes_runs_what_depends_on_the_change(changed: ChangedLines, running: dict[str, set[int]]) -> None:
    """Changes of metadata make no layer, so no step runs for them."""
    graph = parse_dockerfile(DOCKERFILE)
    assert spread_changes(graph, changed) == running
