"""Compare the kinds of cache on a five-stage image of the seed's shape and size, each push on an emptied engine.

Prints a Markdown table for each Dockerfile, and draws them as a picture with `--svg FILE`. The Dockerfiles: as the
seed has it, mended (linked copies, no step after them), and mended with the web stages on a small image.
`nox -s bench -- full` runs everything, which takes some hours at scale 1; `--scale 0.1` is enough to compare. With
`--results FILE` a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.full.base_images import Hub
from benchmarks.full.measure import Bench, Cell
from benchmarks.full.picture import draw_picture
from benchmarks.full.project_files import DOCKERFILES
from benchmarks.full.real_libraries import download_libraries
from benchmarks.full.scenarios import SCENARIOS
from benchmarks.full.sizes import ImageSizes, make_binary
from benchmarks.full.strategies import COMPARED, STRATEGIES, Strategy
from benchmarks.full.tables import Results, read_results, render_tables, write_results
from benchmarks.servers import start_servers
from tests.support.daemon import missing
from tests.support.proxy import Link

# Seconds that one push may take; on a busy machine the first one takes a quarter of an hour at full size
PATIENCE = 7200.0
PROGRAMS = ("docker", "dockerd", "containerd", "docker-registry", "busybox", "git")


def main() -> int:
    """Run the chosen pushes; return 1 where one fails, 2 where this machine lacks a program or disk."""
    options = parse_flags()
    sizes = ImageSizes(options.scale, options.scale if options.work is None else options.work)
    problem = find_problem(sizes.count_disk_bytes(len(options.strategies), len(options.scenarios)))
    if problem:
        print(f"full: {problem}", file=sys.stderr)
        return 2
    results: Results = options.results_so_far
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)  # SIGTERM, and SIGINT of a job in the background, end it too
    exit_code = 0
    try:
        run_pushes(options, sizes, results)
    except KeyboardInterrupt:
        print("full: interrupted; these are the pushes until then", file=sys.stderr)
    except RuntimeError as error:
        print(f"full: {error}", file=sys.stderr)
        exit_code = 1
    print(render_tables(results))
    if options.svg and results:
        options.svg.write_text(draw_picture(results, describe_run(options)), encoding="utf-8")
    return exit_code


def run_pushes(options: argparse.Namespace, sizes: ImageSizes, results: Results) -> None:
    """Add each push to the results, and print a line for it."""
    missing_pushes = find_missing(options, results)
    if not missing_pushes:
        return
    with start_servers() as servers:
        servers.engine.patience = PATIENCE
        hub_folder = servers.folder / "hub"
        hub_folder.mkdir()
        hub = Hub(
            registry=servers.start_registry(hub_folder),
            engine=servers.engine,
            folder=servers.folder,
            sizes=sizes,
            make_library=download_libraries(hub_folder).make_library if options.real else make_binary,
        )
        link = Link(options.mbit * 125_000) if options.mbit else None
        bench = Bench(hub=hub, folder=servers.folder, link=link)
        for dockerfile, strategies in missing_pushes.items():
            for scenario, name, cell in bench.measure_pushes(dockerfile, strategies, options.scenarios):
                results[dockerfile, scenario, name] = cell
                report_push(dockerfile, scenario, name, cell)
                if options.results:
                    options.results.write_text(write_results(results, describe_run(options)), encoding="utf-8")


def find_missing(options: argparse.Namespace, results: Results) -> dict[str, dict[str, Strategy]]:
    """Return for each Dockerfile the strategies that lack a push in the results."""
    found: dict[str, dict[str, Strategy]] = {}
    for dockerfile in options.dockerfiles:
        for name in options.strategies:
            if any((dockerfile, scenario, name) not in results for scenario in options.scenarios):
                found.setdefault(dockerfile, {})[name] = STRATEGIES[name]
    return found


def report_push(dockerfile: str, scenario: str, strategy: str, cell: Cell) -> None:
    """Print a push that ended to standard error."""
    steps = ", ".join(f"{stage} {count}" for stage, count in cell.steps.items() if count)
    print(
        f"{dockerfile}, {scenario}, {strategy}: {cell.seconds:.1f} s, pulled {cell.pulled / 1e6:.1f} MB, "
        f"pushed {cell.pushed / 1e6:.1f} MB, steps: {steps or 'none'}",
        file=sys.stderr,
        flush=True,
    )


def parse_flags() -> argparse.Namespace:
    """Return the flags; argparse ends the program with code 2 where one is not valid."""
    parser = argparse.ArgumentParser(prog="nox -s bench -- full", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--scale", type=read_positive, default=1.0, metavar="SHARE", help="share of the sizes and times"
    )
    parser.add_argument("--work", type=read_share, metavar="SHARE", help="of the times alone; 0: steps move bytes only")
    parser.add_argument("--real", action="store_true", help="take the bytes of real CUDA libraries, from PyPI")
    parser.add_argument("--mbit", type=read_positive, metavar="N", help="speed of the line to the registries, each way")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="keep the figures in FILE; with a FILE that exists, run what it lacks",
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the results")
    choices: tuple[tuple[str, Collection[str], tuple[str, ...]], ...] = (
        ("strategies", STRATEGIES, COMPARED),
        ("dockerfiles", DOCKERFILES, tuple(DOCKERFILES)),
        ("scenarios", SCENARIOS, tuple(SCENARIOS)),
    )
    for flag, known, default in choices:
        parser.add_argument(
            f"--{flag}", type=read_names(known), default=default, metavar="NAME,...", help=f"of {', '.join(known)}"
        )
    options = parser.parse_args()
    options.results_so_far = {}
    if options.results and options.results.exists():
        try:
            options.results_so_far = read_results(options.results.read_text(encoding="utf-8"), describe_run(options))
        except (OSError, ValueError, TypeError) as error:
            parser.error(f"--results: {options.results} is not valid: {error}")
    return options


def read_positive(text: str) -> float:
    """Return a number above 0. Raise ArgumentTypeError."""
    number = read_share(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"`{text}` is not above 0")
    return number


def read_share(text: str) -> float:
    """Return a number from 0. Raise ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is not a number, 0 or more")
    return number


def read_names(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a function that reads names with commas between them, in the order in which they are known."""

    def read(text: str) -> tuple[str, ...]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown: `{name}`; known are {', '.join(known)}")
        return tuple(name for name in known if name in names)

    return read


def find_problem(disk_bytes: int) -> str:
    """Return what this machine lacks, with what to do; empty where it can run the benchmark."""
    if gone := missing(*PROGRAMS):
        return f"{', '.join(gone)} not found: run ./bootstrap --tests nox"
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < disk_bytes:
        return (
            f"{folder} has {free / 1e9:.1f} GB free, and these pushes need {disk_bytes / 1e9:.1f} GB: "
            "free disk, or choose a smaller --scale or fewer --strategies"
        )
    return ""


def describe_run(options: argparse.Namespace) -> str:
    """Return the conditions of a run in words."""
    line = f"a line of {options.mbit:g} Mbit/s" if options.mbit else "registries on the same machine"
    work = "" if options.work is None else f", {options.work:g} of the steps' time"
    real = ", real libraries" if options.real else ""
    return f"scale {options.scale:g}{work}{real}, {line}"


if __name__ == "__main__":
    sys.exit(main())
