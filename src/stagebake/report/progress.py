"""Show the progress of a build: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stagebake.build.events import StepRun, Trace
from stagebake.dockerfile.stages import StageGraph


class BuildProgress:
    """Told of every event: a live view by stage on a terminal, plain lines elsewhere."""

    def __init__(self, graph: StageGraph, console: Console) -> None:
        self._graph = graph
        self._console = console
        self._live: Live | None = None
        self._said: set[tuple[str, str, int, bool]] = set()
        self._doing = ""
        self._drawn = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """While this lasts, a terminal shows the live view; an interrupt is told what it ended."""
        try:
            if self._console.is_terminal:
                with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
                    yield
            else:
                yield
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(interrupt_note(self._doing))
            raise

    def __call__(self, doing: str, trace: Trace) -> None:
        if self._live is None:
            self._say(doing, trace)
        elif doing != self._doing or time.monotonic() - self._drawn > 0.1:
            self._live.update(_view(self._graph, doing, trace), refresh=True)
            self._drawn = time.monotonic()
        self._doing = doing

    def _say(self, doing: str, trace: Trace) -> None:
        if doing != self._doing:
            self._console.print(Text(f"{doing} …"))
        for stage, steps in trace.steps_by_stage(self._graph).items():
            for step in steps:
                key = (doing, stage, step.number, step.running)
                if step.ran and key not in self._said:
                    self._said.add(key)
                    end = "…" if step.running else f"{step.seconds:.1f} s"
                    self._console.print(Text(f"  {stage} {step.number}: {_short(step)} {end}"))


def interrupt_note(doing: str) -> str:
    """What an interrupt leaves behind, in two lines."""
    if doing.startswith("saving"):
        rest = "the image is out, its caches are not all saved\n  → build again to save them"
    else:
        rest = "the build is cancelled\n  → build again when you like: every ref in the registry is whole, old or new"
    return f"interrupted while {doing}: {rest}" if doing else f"interrupted: {rest}"


def _view(graph: StageGraph, doing: str, trace: Trace) -> Group:
    table = Table.grid(padding=(0, 2))
    for stage, steps in trace.steps_by_stage(graph).items():
        if steps:
            table.add_row(Text(stage), *_state(steps))
    return Group(Text(f"{doing} …", style="bold"), table)


def _state(steps: tuple[StepRun, ...]) -> tuple[Text, Text]:
    running = [step for step in steps if step.running]
    if running:
        return Text("running", style="yellow"), Text(f"{running[0].number}/{len(steps)} {_short(running[0])}")
    if any(step.ran for step in steps):
        return Text("rebuilt", style="yellow"), Text()
    if all(step.cached for step in steps if not step.is_from):
        return Text("restored", style="green"), Text()
    return Text("waiting", style="dim"), Text()


def _short(step: StepRun) -> str:
    text = " ".join(step.name.split())
    return text if len(text) <= 80 else f"{text[:79]}…"
