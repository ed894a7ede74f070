"""Hold the sizes of the layers that the steps of a Dockerfile make, for every commit that has the same steps. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.errors import InputError
from stagebake.transfer.step_layers import LAYER_KEYWORDS, Layer, LayeredStages, LayeredStep

_MEGABYTE = 1_000_000
_WORD = re.compile(r"(?P<stage>[^=:]+)(?::(?P<line>[0-9]{1,9}))?=(?P<size>[0-9]{1,9}(?:\.[0-9]{1,9})?)")


@dataclass(frozen=True, kw_only=True)
class StepSizes:
    """Compressed bytes of the layers by stage and text of the instruction; those of FROM are its image's.

    `is_known` is False where nothing tells the sizes: then the time to pull and push is not counted.
    """

    by_text: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        return any(self.by_text.values())

    def layer_steps(self, graph: StageGraph) -> dict[str, tuple[LayeredStep, ...]]:
        """Return the steps of a commit's stages with one layer each; a step of unknown size has none."""
        found: dict[str, tuple[LayeredStep, ...]] = {}
        for stage in graph.needed_stages():
            sizes = self.by_text.get(stage.name, {})
            steps: list[LayeredStep] = []
            for number, step in enumerate(stage.steps):
                size = sizes.get(step.instruction.text, 0)
                layers = (Layer(f"{stage.name} {number}", size),) if size else ()
                steps.append(LayeredStep(stage=stage.name, step=step, layers=layers))
            found[stage.name] = tuple(steps)
        return found


def cached_sizes(layered: LayeredStages) -> StepSizes:
    """Return the sizes of the layers in saved caches."""
    by_text: dict[str, dict[str, int]] = {}
    for name, steps in layered.items():
        by_text[name] = {step.step.instruction.text: step.bytes for step in steps if step.bytes}
    return StepSizes(by_text=by_text)


def given_sizes(words: Iterable[str], graph: StageGraph) -> StepSizes:
    """Return the sizes that `STAGE=MB` and `STAGE:LINE=MB` words give. Raises InputError.

    A size without a line is that of the stage's last RUN, or of its last step without one.
    """
    by_text: dict[str, dict[str, int]] = {}
    for text in words:
        for word in text.split(","):
            found = _WORD.fullmatch(word)
            if found is None:
                raise InputError(
                    f"--sizes: `{word}` is not STAGE=MB or STAGE:LINE=MB",
                    "write base=2200,runtime:180=1036",
                )
            stage = graph.find_stage(found["stage"], "--sizes")
            number = _find_step(stage, found["line"])
            sizes = by_text.setdefault(stage.name, {})
            sizes[stage.steps[number].instruction.text] = round(float(found["size"]) * _MEGABYTE)
    return StepSizes(by_text=by_text)


def _find_step(stage: Stage, line: str | None) -> int:
    """Return the number of the step at a line, or of the one that most likely makes the stage's bytes."""
    if line is not None:
        for number, step in enumerate(stage.steps):
            if step.instruction.line == int(line) and (number == 0 or step.instruction.keyword in LAYER_KEYWORDS):
                return number
        raise InputError(
            f"--sizes: line {line} has no FROM, RUN, COPY, ADD or WORKDIR of stage {stage.name}",
            "give the first line of the instruction",
        )
    makers = [number for number, step in enumerate(stage.steps) if step.instruction.keyword in LAYER_KEYWORDS]
    runs = [number for number in makers if stage.steps[number].instruction.keyword == "RUN"]
    return (runs or makers or [0])[-1]
