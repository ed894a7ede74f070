"""Compute with `stagebake forecast` what pushes would have cost, with given build times of the stages.

Prints two Markdown tables: single changes of the example, and two hundred pushes of an invented team, which it also
draws as a chart. `nox -s bench -- history` runs it in seconds and needs git alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.example import EXAMPLE, SITUATIONS
from stagebake.forecast.strategies import STRATEGIES
from stagebake.formatting import format_seconds
from tests.support.repository import Repository, grow, realistic

CHART = Path(__file__).parents[1] / "docs" / "forecast.svg"
# CUDA base; PyTorch 10-15 minutes; npm 3-5; Next.js 2-3; the image itself 1
SECONDS = "base=180,python-deps=750,node-deps=240,builder=150,runtime=60"
PUSHES = 200


def main() -> int:
    """Print both tables and write the chart."""
    with tempfile.TemporaryDirectory() as folder:
        print(single_changes(Path(folder, "example")))
        print(team_history(Path(folder, "team")))
    return 0


def single_changes(folder: Path) -> str:
    """Return a table with a row for each situation of benchmarks/example.py that changes a file."""
    shutil.copytree(EXAMPLE, folder)
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main")
    names: list[str] = []
    for situation in SITUATIONS:
        if situation.file or not names:
            if situation.file:
                path = folder / situation.file
                path.write_text(path.read_text(encoding="utf-8") + situation.text, encoding="utf-8")
            repository.git("add", "--all")
            repository.git("commit", "--quiet", "--message=push")
            names.append(situation.name)
    strategies = " | ".join(strategy.name for strategy in STRATEGIES)
    alignments = "---:|" * len(STRATEGIES)
    lines = [
        f"| what changed | {strategies} | what stagebake rebuilds |",
        f"|---|{alignments}---|",
    ]
    pushes = run_forecast(repository)
    for name, push in zip(names, pushes, strict=True):
        lines.append(render_row(name, push))
    return "\n".join([*lines, ""])


def render_row(name: str, push: dict[str, Any]) -> str:
    seconds = push["seconds"]
    times = [format_seconds(seconds[strategy.name]) for strategy in STRATEGIES]
    ran = ", ".join(push["ran"]["stagebake"])
    return f"| {name} | {' | '.join(times)} | {ran} |"


def run_forecast(repository: Repository) -> list[dict[str, Any]]:
    answer = repository.stagebake("forecast", f"--seconds={SECONDS}", "--json")
    return list(json.loads(answer.stdout)["pushes"])


def team_history(folder: Path) -> str:
    """Return the forecast of an invented history as a table, and write the chart."""
    repository = grow(folder, realistic(PUSHES))
    repository.checkout()
    flags = (f"--seconds={SECONDS}", f"--svg={CHART}", f"--commits={PUSHES}")
    return repository.stagebake("forecast", *flags).stdout


if __name__ == "__main__":
    sys.exit(main())
