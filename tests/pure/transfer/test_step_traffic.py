"""Test which bytes the running steps of a build move."""

from __future__ import annotations

from dataclasses import replace

from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.transfer.running_steps import spread_changes
from stagebake.transfer.step_layers import Layer, LayeredStep
from stagebake.transfer.step_traffic import (
    Traffic,
    foretell_traffic,
    sum_traffic,
    unknown_sources,
    unread_image_bytes,
)

DOCKERFILE = """\
FROM image AS base
RUN apt
FROM base AS python
RUN pip
FROM base AS builder
COPY src src
RUN build
FROM base AS runtime
COPY --from=python /venv /venv
COPY --from=builder /built /built
RUN chown
CMD run
"""
# Bytes of each step's layer
SIZES = {
    "base": [1000, 200],
    "python": [0, 800],
    "builder": [0, 3, 5],
    "runtime": [0, 700, 4, 701, 0],
}
CODE = {"builder": {1, 2}, "runtime": {2, 3}}


def layer_steps(graph: StageGraph) -> dict[str, tuple[LayeredStep, ...]]:
    """Return the steps with one layer of the given size each."""
    found = {}
    for name, sizes in SIZES.items():
        steps = []
        for number, (step, size) in enumerate(zip(graph[name].steps, sizes, strict=True)):
            layers = (Layer(f"{name} {number}", size),) if size else ()
            steps.append(LayeredStep(stage=name, step=step, layers=layers))
        found[name] = tuple(steps)
    return found


def total(graph: StageGraph, running: dict[str, set[int]], *, saves_stages: bool = True) -> Traffic:
    return sum_traffic(foretell_traffic(graph, layer_steps(graph), running, saves_stages=saves_stages))


def test_traffic_nothing_runs_moves_nothing() -> None:
    graph = parse_dockerfile(DOCKERFILE)
    assert foretell_traffic(graph, layer_steps(graph), {}) == ()


def test_traffic_code_change_names_the_step_that_needs_each_layer() -> None:
    graph = parse_dockerfile(DOCKERFILE)
    found = foretell_traffic(graph, layer_steps(graph), CODE)
    moved = [(step.stage, step.step.instruction.line, step.pulled, step.pushed) for step in found]
    assert moved == [("builder", 6, 1200, 3), ("builder", 7, 0, 5), ("runtime", 10, 700, 4), ("runtime", 11, 0, 701)]


def test_traffic_inline_pushes_the_layers_of_the_image_alone() -> None:
    graph = parse_dockerfile(DOCKERFILE)
    assert total(graph, CODE, saves_stages=False) == Traffic(pulled=1900, pushed=705)


def test_traffic_link_needs_no_layer_below_unless_chmod_cancels_it() -> None:
    linked = DOCKERFILE.replace("COPY --from=builder", "COPY --link --from=builder")
    running = {"builder": {1, 2}, "runtime": {2}}
    assert total(parse_dockerfile(linked), running) == Traffic(pulled=1200, pushed=12)
    cancelled = linked.replace("--link", "--link --chmod=755")
    assert total(parse_dockerfile(cancelled), running) == Traffic(pulled=1900, pushed=12)


def test_traffic_copy_pulls_all_layers_of_a_restored_source() -> None:
    graph = parse_dockerfile(DOCKERFILE)
    assert total(graph, {"runtime": {1, 2, 3}}) == Traffic(pulled=1200 + 800 + 8, pushed=700 + 4 + 701)


def test_traffic_mounted_stage_is_pulled() -> None:
    mounting = DOCKERFILE.replace("RUN chown", "RUN --mount=from=python,target=/p chown")
    assert total(parse_dockerfile(mounting), {"runtime": {3}}) == Traffic(pulled=1200 + 704 + 800, pushed=701)


def test_traffic_everything_runs_pulls_the_image_of_from() -> None:
    graph = parse_dockerfile(DOCKERFILE)
    found = sum_traffic(foretell_traffic(graph, layer_steps(graph), spread_changes(graph, dict.fromkeys(graph.names))))
    assert found == Traffic(pulled=1000, pushed=200 + 800 + 8 + 1405)


def test_traffic_equal_layers_are_pushed_once() -> None:
    """A linked copy of one file is the layer that the source stage has."""
    graph = parse_dockerfile(DOCKERFILE)
    layered = layer_steps(graph)
    copy = replace(layered["runtime"][2], layers=layered["builder"][2].layers)
    layered["runtime"] = (*layered["runtime"][:2], copy, *layered["runtime"][3:])
    found = foretell_traffic(graph, layered, CODE)
    assert [step.pushed for step in found] == [3, 5, 0, 701]
    image = foretell_traffic(graph, layered, CODE, saves_stages=False)
    assert [step.pushed for step in image] == [0, 0, 5, 701]


def test_unread_image_bytes_are_those_that_only_a_stored_image_needs() -> None:
    linked = DOCKERFILE.replace("COPY --from", "COPY --link --from").replace("RUN chown\n", "")
    graph = parse_dockerfile(linked)
    layered = layer_steps(parse_dockerfile(DOCKERFILE))
    copies = {**layered, "runtime": (*layered["runtime"][:3], layered["runtime"][4])}
    assert unread_image_bytes(graph, copies, {"builder": {1, 2}, "runtime": {2}}) == 700
    assert unread_image_bytes(graph, copies, {}) == 1200 + 700 + 4
    assert unread_image_bytes(parse_dockerfile(DOCKERFILE), layered, CODE) == 0


def test_unknown_sources_are_stages_without_layers_that_a_stage_needs() -> None:
    graph = parse_dockerfile(DOCKERFILE)
    layered = layer_steps(graph)
    del layered["python"]
    assert unknown_sources(graph, layered, {"runtime": {1}}, "runtime") == {"python"}
    assert unknown_sources(graph, layered, CODE, "builder") == frozenset()
    assert unknown_sources(graph, layered, {"python": {1}}, "python") == {"python"}
    assert unknown_sources(graph, {}, {}, "runtime") == frozenset()
