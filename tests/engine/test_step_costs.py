"""Push a code change from an empty engine: the report names the step that needed each byte."""

from __future__ import annotations

import json
from typing import Any

from tests.support.project import Project

BASE, DEPS, BUILT, TAIL = 3_000_000, 2_000_000, 1_000_000, 500_000


def write_file(name: str, size: int) -> str:
    return f"RUN head -c {size} /dev/urandom > /{name}"


DOCKERFILE = f"""\
FROM busybox:1 AS base
{write_file("base", BASE)}
FROM base AS deps
COPY requirements.txt .
{write_file("deps", DEPS)}
FROM base AS builder
COPY src src
{write_file("built", BUILT)}
FROM base AS runtime
WORKDIR /app
COPY --from=deps /deps /deps
COPY --link --from=builder /built /built
{write_file("tail", TAIL)}
"""
TOLERANCE = 20_000


def planned_by(plan: Any, stage: str) -> dict[int, tuple[int, int]]:
    """Return the bytes that a plan foretells, pulled and pushed, by the line of the step."""
    (found,) = (entry for entry in plan["stages"] if entry["name"] == stage)
    moved = {}
    for step in found["steps"]:
        sizes = (round(step["bytes"][key] / TOLERANCE) * TOLERANCE for key in ("pulled", "pushed"))
        moved[step["line"]] = tuple(sizes)
    return moved


def costs_of(report: Any, stage: str) -> dict[int | None, tuple[int, int, int]]:
    """Return pulled, unpacked and pushed bytes by the line of the step; small numbers count as nothing."""
    (found,) = (entry for entry in report["stages"] if entry["name"] == stage)
    costs = {}
    for cost in found["costs"]:
        sizes = [cost["bytes"][key] for key in ("pulled", "unpacked", "pushed")]
        pulled, unpacked, pushed = (round(size / TOLERANCE) * TOLERANCE for size in sizes)
        if pulled or pushed:
            costs[cost["line"]] = (pulled, unpacked, pushed)
    return costs


def test_report_code_push_names_the_step_that_needed_each_byte(project: Project) -> None:
    project = project.hosting("first")
    project.write({"Dockerfile": DOCKERFILE, "requirements.txt": "one\n", "src/page.tsx": "one\n"})
    project.settings()
    project.commit()
    first = project.build("--push").report
    assert costs_of(first, "deps") == {5: (0, 0, DEPS)}
    (_, _, image) = costs_of(first, "base")[1]
    project.engine.empty()
    project.write({"src/page.tsx": "two\n"})
    plan = json.loads(project.stagebake("plan", "--push", "--json").stdout)
    assert planned_by(plan, "builder") == {7: (BASE + image, 0), 8: (0, BUILT)}
    # The linked copy is the same layer as the builder's, which is pushed once
    assert planned_by(plan, "runtime") == {12: (0, 0), 13: (DEPS, TAIL)}
    local = json.loads(project.stagebake("plan", "--json").stdout)
    assert local["bytes"] == {"pulled": plan["bytes"]["pulled"], "pushed": 0}
    with project.registry.proxy.watched() as seen:
        outcome = project.build("--push")
    report = outcome.report
    assert costs_of(report, "base") == costs_of(report, "deps") == {}
    # The engine has the layer of the base image already, or takes it from the registry
    below = costs_of(report, "builder")[7][0]
    assert below in (BASE, BASE + image)
    assert costs_of(report, "builder") == {7: (below, below, 0), 8: (0, 0, BUILT)}
    assert costs_of(report, "runtime") == {13: (DEPS, DEPS, TAIL)}
    # The blobs that are smaller are configs, of images and caches
    blobs = [exchange.sent for exchange in seen if exchange.method == "GET" and "/blobs/" in exchange.path]
    layers = [size for size in blobs if size > TOLERANCE]
    assert abs(sum(stage["bytes"]["pulled"] for stage in report["stages"]) - sum(layers)) < 2 * TOLERANCE
    assert "builder: 3.0 MB pulled" not in outcome.stdout  # too small to be worth a line
