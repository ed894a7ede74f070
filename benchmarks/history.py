"""Compute with `stagebake forecast` what pushes would have cost, with given build times and sizes of the stages.

Prints Markdown tables: single changes of an image of the size that the team with the twenty-minute push has, with its
Dockerfile as it is and mended, and two hundred pushes of an invented team, which it also draws as a chart.
`nox -s bench -- history` runs it in seconds and needs git alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.forecast.strategies import STRATEGIES
from stagebake.formatting import format_seconds, format_size
from tests.support.repository import Repository, grow, realistic
from tests.support.shapes import FIVE

CHART = Path(__file__).parents[1] / "docs" / "forecast.svg"
# CUDA base; PyTorch 10-15 minutes; npm 3-5; Next.js 2-3; the image itself 1
SECONDS = "base=180,python-deps=750,node-deps=240,builder=150,runtime=60"
# Compressed megabytes, as measured on an image of the real size
STAGE_SIZES = "base=404,python-deps=873,node-deps=199,builder=34"
CUDA_SIZE, NODE_SIZE, LINKED_SIZE = 1783, 80, 178
PUSHES = 200

_AS_IT_IS = """\
FROM nvidia/cuda AS base
RUN apt-get install
FROM base AS python-deps
COPY requirements.txt .
RUN pip install
FROM base AS node-deps
COPY package-lock.json .
RUN npm ci
FROM node-deps AS builder
COPY app app
RUN npm run build
FROM base AS runtime
COPY --from=python-deps /venv /venv
COPY --from=builder /app ./
RUN npm prune && chown -R nextjs /venv
"""
_COPIES = """\
COPY --link --chown=1001 --from=python-deps /venv /venv
COPY --link --chown=1001 --from=builder /app ./
COPY --link --chown=1001 --from=node-deps /node_modules node_modules
"""
_MENDED = _AS_IT_IS[: _AS_IT_IS.index("COPY --from=python-deps")] + _COPIES
_SLIM = _MENDED.replace("FROM base AS node-deps", "FROM node:slim AS node-deps")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Form of the Dockerfile, and the compressed megabytes of its layers."""

    title: str
    dockerfile: str
    sizes: str


VARIANTS = (
    Variant(
        title="The Dockerfile as it is",
        dockerfile=_AS_IT_IS,
        sizes=f"base:1={CUDA_SIZE},{STAGE_SIZES},runtime:13=873,runtime=1036",
    ),
    Variant(
        title="Mended: `COPY --link --chown`, and no RUN after it",
        dockerfile=_MENDED,
        sizes=f"base:1={CUDA_SIZE},{STAGE_SIZES},runtime:13=873,runtime:15={LINKED_SIZE}",
    ),
    Variant(
        title="Mended, and the web stages on a small image",
        dockerfile=_SLIM,
        sizes=f"base:1={CUDA_SIZE},node-deps:6={NODE_SIZE},{STAGE_SIZES},runtime:13=873,runtime:15={LINKED_SIZE}",
    ),
)
CHANGES = {
    "first push": {"requirements.txt": "torch\n", "package-lock.json": "{}\n", "app/page.tsx": "1\n"},
    "nothing": {},
    "code": {"app/page.tsx": "2\n"},
    "npm": {"package-lock.json": "{} \n"},
    "Python": {"requirements.txt": "torch\nsix\n"},
}


def main() -> int:
    """Print the tables and write the chart."""
    with tempfile.TemporaryDirectory() as folder:
        for number, variant in enumerate(VARIANTS):
            print(f"{variant.title}:\n")
            print(single_changes(Path(folder, str(number)), variant))
        print(team_history(Path(folder, "team")))
    return 0


def single_changes(folder: Path, variant: Variant) -> str:
    """Return a table with a row for each change, and the bytes that stagebake moves."""
    first, *others = CHANGES.values()
    commits = [{"Dockerfile": variant.dockerfile, **first}, *others]
    repository = grow(folder, commits)
    repository.checkout()
    strategies = " | ".join(strategy.name for strategy in STRATEGIES)
    alignments = "---:|" * len(STRATEGIES)
    lines = [
        f"| what changed | {strategies} | stagebake rebuilds | pulled | pushed |",
        f"|---|{alignments}---|---:|---:|",
    ]
    for name, push in zip(CHANGES, run_forecast(repository, variant.sizes), strict=True):
        lines.append(render_row(name, push))
    return "\n".join([*lines, ""])


def render_row(name: str, push: dict[str, Any]) -> str:
    seconds = push["seconds"]
    times = [format_seconds(seconds[strategy.name]) for strategy in STRATEGIES]
    ran = ", ".join(f"`{stage}`" for stage in push["ran"]["stagebake"]) or "nothing"
    moved = push["bytes"]["stagebake"]
    cells = [name, *times, ran, format_size(moved["pulled"]), format_size(moved["pushed"])]
    return f"| {' | '.join(cells)} |"


def run_forecast(repository: Repository, sizes: str) -> list[dict[str, Any]]:
    answer = repository.stagebake("forecast", f"--seconds={SECONDS}", f"--sizes={sizes}", "--json")
    return list(json.loads(answer.stdout)["pushes"])


def team_history(folder: Path) -> str:
    """Return the forecast of an invented history as a table, and write the chart."""
    repository = grow(folder, realistic(PUSHES))
    repository.checkout()
    sizes = ",".join(team_sizes(FIVE["Dockerfile"]))
    flags = (f"--seconds={SECONDS}", f"--sizes={sizes}", f"--svg={CHART}", f"--commits={PUSHES}")
    return repository.stagebake("forecast", *flags).stdout


def team_sizes(dockerfile: str) -> Iterable[str]:
    """Yield the sizes for the Dockerfile of the invented history, which has the shape of the one as it is."""
    graph = parse_dockerfile(dockerfile)
    copies = [step.instruction.line for step in graph.final.steps if "python-deps" in step.sources]
    yield f"base:{graph['base'].line}={CUDA_SIZE}"
    yield STAGE_SIZES
    yield f"runtime:{copies[0]}=873"
    yield "runtime=1036"


if __name__ == "__main__":
    sys.exit(main())
