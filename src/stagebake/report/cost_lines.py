"""Say in sentences which step of a build needed which bytes, and which step cost the most. Pure.

The sentences are Markdown too: a step is a code span, in which every other character is literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from stagebake.build.result import BuildResult, StageResult, StepCost
from stagebake.formatting import format_seconds, format_size, make_printable

# Smaller transfers take no time that anybody notices
_SHOWN_BYTES = 10_000_000
_SHOWN_STEPS = 8
_MAX_STEP_WIDTH = 60
# Flags of RUN that would leave no room for its command
_RUN_FLAGS = re.compile(r"^RUN(?: --\w+=\S+)+ ")


def transfer_lines(stages: Iterable[StageResult]) -> list[str]:
    """Return a sentence for each step that moved many bytes, in the order of the build; at most eight."""
    shown: list[tuple[StageResult, StepCost]] = []
    for stage in stages:
        shown += [(stage, cost) for cost in stage.costs if max(cost.pulled, cost.pushed) >= _SHOWN_BYTES]
    largest = sorted(shown, key=lambda entry: entry[1].pulled + entry[1].pushed, reverse=True)[:_SHOWN_STEPS]
    return [_transfer_sentence(stage, cost) for stage, cost in shown if (stage, cost) in largest]


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


def _transfer_sentence(stage: StageResult, cost: StepCost) -> str:
    needed_by = f" for {step_label(cost)}" if cost.line is not None else ""
    return f"{stage.name}: {', '.join(_moved_words(cost))}{needed_by}"


def _moved_words(cost: StepCost) -> list[str]:
    words: list[str] = []
    if cost.pulled:
        words.append(f"{format_size(cost.pulled)} pulled")
    if cost.pulled and cost.unpacked < cost.pulled:
        words.append(f"{format_size(cost.unpacked)} unpacked")
    if cost.pushed:
        words.append(f"{format_size(cost.pushed)} pushed")
    return words
