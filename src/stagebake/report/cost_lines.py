"""Say in sentences which step of a build or plan needs which bytes, and which step cost the most. Pure.

The sentences are Markdown too: a step is a code span, in which every other character is literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stagebake.build.result import BuildResult, StageResult, StepCost
from stagebake.explain.plan import PlannedStage
from stagebake.formatting import format_seconds, format_size, make_printable

# Smaller transfers take no time that anybody notices
_SHOWN_BYTES = 10_000_000
_SHOWN_STEPS = 8
_MAX_STEP_WIDTH = 60
# Flags of RUN that would leave no room for its command
_RUN_FLAGS = re.compile(r"^RUN(?: --\w+=\S+)+ ")


def transfer_lines(stages: Iterable[StageResult]) -> list[str]:
    """Return a sentence for each step that moved many bytes, in the order of the build; at most eight."""
    return _largest_sentences([(stage.name, cost) for stage in stages for cost in stage.costs])


def planned_lines(stages: Iterable[PlannedStage]) -> list[str]:
    """Return a sentence for each step that will move many bytes, in the order of the build; at most eight."""
    costs: list[tuple[str, StepCost]] = []
    for stage in stages:
        for step in stage.traffic or ():
            instruction = step.step.instruction
            cost = StepCost(
                name=instruction.text,
                line=instruction.line,
                pulled=step.pulled,
                unpacked=step.pulled,
                pushed=step.pushed,
            )
            costs.append((stage.name, cost))
    return _largest_sentences(costs)


def blame_sentence(result: BuildResult) -> str:
    """Name the step that cost the most seconds, and where to read what to do about it; "" where no step cost any."""
    costs = [(stage, cost) for stage in result.stages for cost in stage.costs if cost.line is not None]
    if not costs:
        return ""
    stage, cost = max(costs, key=lambda entry: entry[1].seconds)
    details = [format_seconds(cost.seconds), *_moved_words(cost)]
    return f"The most expensive step is {step_label(cost)} in {stage.name}: {', '.join(details)}."


def step_label(cost: StepCost) -> str:
    """Return the step as code, shortened, with its line in the Dockerfile."""
    text = _RUN_FLAGS.sub("RUN ", make_printable(cost.name)).replace("`", "'")
    if len(text) > _MAX_STEP_WIDTH:
        text = f"{text[: _MAX_STEP_WIDTH - 1].rstrip()}…"
    return f"`{text}` (line {cost.line})"


def _largest_sentences(costs: Sequence[tuple[str, StepCost]]) -> list[str]:
    shown = [number for number, (_, cost) in enumerate(costs) if max(cost.pulled, cost.pushed) >= _SHOWN_BYTES]
    shown.sort(key=lambda number: costs[number][1].pulled + costs[number][1].pushed, reverse=True)
    return [_transfer_sentence(*costs[number]) for number in sorted(shown[:_SHOWN_STEPS])]


def _transfer_sentence(stage: str, cost: StepCost) -> str:
    needed_by = f" for {step_label(cost)}" if cost.line is not None else ""
    return f"{stage}: {', '.join(_moved_words(cost))}{needed_by}"


def _moved_words(cost: StepCost) -> list[str]:
    words: list[str] = []
    if cost.pulled:
        words.append(f"{format_size(cost.pulled)} pulled")
    if cost.pulled and cost.unpacked < cost.pulled:
        words.append(f"{format_size(cost.unpacked)} unpacked")
    if cost.pushed:
        words.append(f"{format_size(cost.pushed)} pushed")
    return words
