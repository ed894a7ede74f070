"""Measure what stagebake adds to BuildKit's own work: start-up, `plan` on many files, a push without changes.

Prints a Markdown table with the median of several runs and the limit of each row. The registry is on this machine, so a
round trip takes about a millisecond. `nox -s bench -- startup` runs it; it takes about two minutes, as root. It exits
with 1 where a limit is exceeded, as it may be where other work runs beside it.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import start_servers
from tests.support.project import Project
from tests.support.shapes import FIVE

RUNS = 5
FILES = 50_000
FILES_PER_FOLDER = 500

# Seconds
FIRST_CALL_LIMIT = 0.7
PLAN_LIMIT = 1.0
# Times the seconds of plain bake, and the start-up of stagebake once
PUSH_LIMIT = 1.2

# Notes when docker is called, then calls it
_WRAPPER = """\
#!/bin/sh
echo "$(date +%s.%N) $*" >> {log}
exec {docker} "$@"
"""


def main() -> int:
    """Print the table; return 1 where a limit is exceeded."""
    print(f"| median of {RUNS} runs | seconds | of the processor | limit |")
    print("|---|---:|---:|---:|", flush=True)
    with start_servers() as servers:
        project = servers.create_project("app")
        open_project(project)
        first_call = median_of(lambda: first_call_seconds(project, servers.folder))
        within = [print_row("from `nox -s build` to the first bake call", first_call, FIRST_CALL_LIMIT)]
        empty = servers.engine.empty
        bake = median_of(lambda: push_bake(project), empty)
        print_row("`docker buildx bake` without changes, merged cache", bake, math.inf)
        push = median_of(lambda: push_stagebake(project), empty)
        push_limit = FIRST_CALL_LIMIT + PUSH_LIMIT * bake.waited
        within.append(print_row("`stagebake build --push` without changes", push, push_limit))
        write_many_files(project.folder)
        plan_project(project)
        plan = median_of(lambda: plan_project(project))
        within.append(print_row(f"`plan` on {FILES:,} files, again", plan, PLAN_LIMIT))
    return 0 if all(within) else 1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Medians of several runs: the seconds that passed, and those of the processor in what this program started."""

    waited: float
    worked: float


def print_row(what: str, cost: Cost, limit: float) -> bool:
    """Print a row; return True where the seconds are within the limit."""
    print(f"| {what} | {cost.waited:.2f} | {cost.worked:.2f} | {limit:.2f} |", flush=True)
    return cost.waited <= limit


def median_of(measure: Callable[[], float], prepare: Callable[[], None] = lambda: None) -> Cost:
    """Measure several times, each after `prepare`. On a busy machine only the processor's seconds repeat."""
    waited: list[float] = []
    worked: list[float] = []
    for _ in range(RUNS):
        prepare()
        before = processor_seconds()
        waited.append(measure())
        worked.append(processor_seconds() - before)
    return Cost(waited=statistics.median(waited), worked=statistics.median(worked))


def processor_seconds() -> float:
    """Return the seconds of the processor in all programs that this one started, and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def open_project(project: Project) -> None:
    """Write a repository with the five stages, and push it."""
    project.folder.mkdir()
    project.git("init", "--quiet", "--initial-branch=main")
    noxfile = "from stagebake.sessions import build\n"
    project.write({**FIVE, "noxfile.py": noxfile, ".dockerignore": "noxfile.py\n.nox\n*.toml\nmany\n"})
    project.settings()
    project.commit()
    project.build("--push")
    project.stagebake("generate")


def first_call_seconds(project: Project, folder: Path) -> float:
    """Return the seconds from the start of nox to the first bake call, with a docker that notes its calls."""
    programs = folder / "programs"
    log = folder / "calls.log"
    programs.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    wrapper = programs / "docker"
    wrapper.write_text(_WRAPPER.format(log=log, docker=shutil.which("docker")), encoding="utf-8")
    wrapper.chmod(0o755)
    start = time.time()
    outcome = project.nox(
        "--no-error-on-external-run", "-s", "build", "--", "--push", PATH=f"{programs}:{os.environ['PATH']}"
    )
    if outcome.exit_code:
        raise RuntimeError(outcome.stderr)
    for line in log.read_text(encoding="utf-8").splitlines():
        seconds, _, arguments = line.partition(" ")
        if arguments.startswith("buildx bake "):
            return float(seconds) - start
    raise RuntimeError("no bake call")


def push_stagebake(project: Project) -> float:
    """Return the seconds of a push in which nothing runs."""
    start = time.monotonic()
    outcome = project.build("--push")
    if outcome.ran:
        raise RuntimeError(f"stages ran: {sorted(outcome.ran)}")
    return time.monotonic() - start


def push_bake(project: Project) -> float:
    """Return the seconds of a push with the generated bake file, which imports the merged cache."""
    start = time.monotonic()
    project.bake(
        "--file=docker-bake.hcl",
        "--allow=fs.read=*",
        "--set=*.output=type=image,push=true,store=false,unpack=false",
        "default",
    )
    return time.monotonic() - start


def plan_project(project: Project) -> float:
    """Return the seconds of `plan`."""
    start = time.monotonic()
    outcome = project.stagebake("plan")
    if outcome.exit_code:
        raise RuntimeError(outcome.stderr)
    return time.monotonic() - start


def write_many_files(folder: Path) -> None:
    """Write files into the build context, which a stage copies."""
    for number in range(FILES):
        path = folder / "src" / str(number // FILES_PER_FOLDER) / f"{number}.txt"
        if number % FILES_PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_text(f"{number}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
