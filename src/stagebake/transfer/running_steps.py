"""Find which steps of a build run when some of them changed. Pure.

BuildKit runs a changed step and everything on top of it. A COPY --link depends on nothing below it, so it runs only
where it changed itself. A step that takes from a stage that runs is assumed to run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.transfer.step_layers import LAYER_KEYWORDS
from stagebake.transfer.step_traffic import is_linked

ChangedLines = Mapping[str, Collection[int] | None]
"""Stages with the lines of the instructions that changed in them; None where every step runs."""


def spread_changes(graph: StageGraph, changed: ChangedLines) -> dict[str, frozenset[int]]:
    """Return the steps that run, by stage. A changed ARG or ENV counts from the next step on."""
    running: dict[str, frozenset[int]] = {}
    for stage in graph.needed_stages():
        numbers = _running_numbers(stage, changed.get(stage.name, ()), running)
        if numbers:
            running[stage.name] = frozenset(numbers)
    return running


def _running_numbers(
    stage: Stage,
    changed: Collection[int] | None,
    running: Mapping[str, Collection[int]],
) -> list[int]:
    makers = [number for number, step in enumerate(stage.steps) if step.instruction.keyword in LAYER_KEYWORDS]
    if changed is None:
        return makers
    owners = {_changed_step(stage, makers, line) for line in changed}
    is_below_changed = stage.base in running
    numbers: list[int] = []
    for number in makers:
        step = stage.steps[number]
        takes_from_running = any(source in running for source in step.sources if isinstance(source, str))
        is_changed = number in owners or takes_from_running
        if is_changed or (is_below_changed and not is_linked(step.instruction)):
            numbers.append(number)
            is_below_changed = True
    return numbers


def _changed_step(stage: Stage, makers: list[int], line: int) -> int | None:
    """Return the step at or after a changed line."""
    return next((number for number in makers if stage.steps[number].instruction.line >= line), None)
