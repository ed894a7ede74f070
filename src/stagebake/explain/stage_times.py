"""Find how long stages take (from flags, a report, the ledger), and how long a build of them takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import InputError
from stagebake.explain.ledger import Ledger, last_seconds, parse_seconds


def given_stage_times(words: list[str], report: Path | None, graph: StageGraph) -> dict[str, float]:
    """Return the seconds of stages from a build's report, overridden by `STAGE=SECONDS` words. Raises InputError."""
    times = _read_report_times(report) if report else {}
    for text in words:
        for word in text.split(","):
            stage, seconds = _parse_stage_time(word, graph)
            times[stage] = seconds
    return times


def _parse_stage_time(word: str, graph: StageGraph) -> tuple[str, float]:
    """Parse `STAGE=SECONDS`. Raises InputError."""
    name, _, number = word.partition("=")
    stage = graph.find_stage(name, "--seconds").name
    try:
        return stage, parse_seconds(number)
    except ValueError:
        raise InputError(
            f"--seconds: `{word}` is not STAGE=SECONDS",
            "write base=60,builder=150",
        ) from None


def _read_report_times(path: Path) -> dict[str, float]:
    """Read from a build's --report the seconds of the stages that the build ran."""
    times: dict[str, float] = {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        for stage in document["stages"]:
            if stage["status"] == "rebuilt":
                times[stage["name"]] = parse_seconds(stage["seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the report of a build: {error}",
            "write one: build --report FILE.json",
        ) from None
    return times


def ledger_stage_times(ledgers: Sequence[Ledger]) -> dict[str, float]:
    """Return the seconds that each stage took when it last ran, of the nearest ledger that knows."""
    times: dict[str, float] = {}
    for ledger in ledgers:
        for stage in ledger.stages:
            seconds = last_seconds(ledgers, stage)
            if seconds is not None:
                times[stage] = seconds
    return times


def require_stage_times(graph: StageGraph, times: Mapping[str, float]) -> dict[str, float]:
    """Return the times, those of the image's stages first. Raises InputError that names stages without a time."""
    needed = [stage.name for stage in graph.needed_stages()]
    missing = [name for name in needed if name not in times]
    if missing:
        names = ", ".join(missing)
        flags = ",".join(f"{name}=SECONDS" for name in missing)
        raise InputError(
            f"unknown build time of {names}",
            f"add --seconds {flags}, or --times with the --report of a build",
        )
    needed_times = {name: times[name] for name in needed}
    return {**needed_times, **times}


def longest_path_seconds(graph: StageGraph, seconds: Mapping[str, float]) -> float:
    """Return the seconds until the last stage is done: each starts when its parents are done, as in BuildKit."""
    done: dict[str, float] = {}
    for stage in graph.needed_stages():
        parents_done = [done[parent] for parent in stage.parents]
        start = max(parents_done, default=0.0)
        done[stage.name] = start + seconds[stage.name]
    return max(done.values())


def total_build_seconds(
    graph: StageGraph,
    seconds: Mapping[str, float],
    overhead: float,
) -> float:
    """Return the seconds until the image is available: the longest path through the stages, and the overhead."""
    return longest_path_seconds(graph, seconds) + overhead
