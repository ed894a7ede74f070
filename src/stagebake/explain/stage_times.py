"""Find how long each stage takes: from flags, from a report, from the ledger."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import InputError
from stagebake.explain.ledger import Ledger


def given_stage_times(words: list[str], report: Path | None, graph: StageGraph) -> dict[str, float]:
    """The times of stages: those of a build's report, and over them `STAGE=SECONDS` words."""
    times = _reported(report) if report else {}
    for word in (word for text in words for word in text.split(",")):
        name, _, number = word.partition("=")
        stage = graph.find_stage(name, "--seconds").name
        try:
            times[stage] = _time(number)
        except ValueError:
            raise InputError(f"--seconds: `{word}` is not STAGE=SECONDS", "write base=60,builder=150") from None
    return times


def _time(number: Any) -> float:
    """Seconds. Raises ValueError for what is no time."""
    if not math.isfinite(seconds := float(number)) or seconds < 0:
        raise ValueError(f"{number} is no time")
    return seconds


def _reported(path: Path) -> dict[str, float]:
    """What the stages took that the build of a --report ran."""
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {stage["name"]: _time(stage["seconds"]) for stage in stages if stage["status"] == "rebuilt"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a report of a build: {error}", "write one: build --report FILE.json") from None


def ledger_stage_times(ledgers: Iterable[Ledger]) -> dict[str, float]:
    """What the last builds took for each stage that they ran; of the nearest ledger that knows."""
    times: dict[str, float] = {}
    for ledger in ledgers:
        for name, results in ledger.stages.items():
            ran = next((result.ran for result in results if result.ran is not None), None)
            if ran is not None:
                times.setdefault(name, ran)
    return times


def require_stage_times(graph: StageGraph, times: Mapping[str, float]) -> dict[str, float]:
    """The times, which have every stage that is built. Raises InputError that names those without."""
    names = [stage.name for stage in graph.needed_stages()]
    if missing := [name for name in names if name not in times]:
        raise InputError(
            f"it is not known how long {', '.join(missing)} take{'s' * (len(missing) == 1)}",
            f"say it: --seconds {','.join(f'{name}=SECONDS' for name in missing)}; or --times with a build's --report",
        )
    return {name: times[name] for name in (*names, *(times.keys() - names))}
