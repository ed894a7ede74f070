"""What pushes would have cost, computed by `stagebake forecast` with the times that a team gives for its stages.

Prints two Markdown tables and draws the second: single changes of the example, and two hundred pushes of a made-up
team. `nox -s bench -- history` runs it in seconds and needs git alone.
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

PICTURE = Path(__file__).parents[1] / "docs" / "forecast.svg"
# CUDA base; PyTorch 10-15 minutes; npm 3-5; Next.js 2-3; the image itself 1
SECONDS = "base=180,python-deps=750,node-deps=240,builder=150,runtime=60"
PUSHES = 200


def main() -> int:
    """Prints and draws all of it."""
    with tempfile.TemporaryDirectory() as folder:
        print(single_changes(Path(folder, "example")))
        print(team(Path(folder, "team")))
    return 0


def single_changes(folder: Path) -> str:
    """A row for each situation of the measured run that changes a file, each against what was before it."""
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
    heading = "| what changed | " + " | ".join(way.name for way in STRATEGIES) + " | what stagebake rebuilds |"
    rows = [row(name, push) for name, push in zip(names, forecast(repository), strict=True)]
    return "\n".join([heading, "|---" + "|---:" * len(STRATEGIES) + "|---|", *rows, ""])


def row(name: str, push: dict[str, Any]) -> str:
    times = " | ".join(format_seconds(push["seconds"][way.name]) for way in STRATEGIES)
    return f"| {name} | {times} | {', '.join(push['ran']['stagebake'])} |"


def forecast(repository: Repository) -> list[dict[str, Any]]:
    answer = repository.stagebake("forecast", f"--seconds={SECONDS}", "--json")
    return list(json.loads(answer.stdout)["pushes"])


def team(folder: Path) -> str:
    """The table of a forecast over a made-up history."""
    repository = grow(folder, realistic(PUSHES))
    repository.checkout()
    flags = (f"--seconds={SECONDS}", f"--svg={PICTURE}", f"--commits={PUSHES}")
    return repository.stagebake("forecast", *flags).stdout


if __name__ == "__main__":
    sys.exit(main())
