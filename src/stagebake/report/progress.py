"""Show the progress of a build: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stagebake.buildkit.events import StepRun, Trace
from stagebake.dockerfile.stages import StageGraph

_REDRAW_SECONDS = 0.1
_MAX_STEP_WIDTH = 80


class BuildProgress:
    """Listener that is called with every event of a build and shows the steps that run."""

    def __init__(self, graph: StageGraph, console: Console) -> None:
        self._graph = graph
        self._console = console
        self._live: Live | None = None
        self._printed: set[tuple[str, str, int, bool]] = set()
        self._activity = ""
        self._drawn_at = 0.0

    @contextmanager
    def track_build(self) -> Iterator[None]:
        """Show the live view meanwhile if there is a terminal; add a note to an interrupt that says what it ended."""
        try:
            if self._console.is_terminal:
                live = Live(console=self._console, auto_refresh=False, transient=True)
                with live as self._live:
                    yield
            else:
                yield
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(interrupt_note(self._activity))
            raise

    def __call__(self, activity: str, trace: Trace) -> None:
        """Show the state of a build; `activity` says what it does now ("building", "saving base")."""
        if self._live is None:
            self._print_new_steps(activity, trace)
        else:
            self._redraw_view(self._live, activity, trace)
        self._activity = activity

    def _redraw_view(self, live: Live, activity: str, trace: Trace) -> None:
        """Draw the live view for a new activity at once, else only a few times a second."""
        now = time.monotonic()
        if activity == self._activity and now - self._drawn_at <= _REDRAW_SECONDS:
            return
        view = _draw_view(self._graph, activity, trace)
        live.update(view, refresh=True)
        self._drawn_at = time.monotonic()

    def _print_new_steps(self, activity: str, trace: Trace) -> None:
        """Print a line for a new activity, and one when a step starts and when it ends."""
        if activity != self._activity:
            self._console.print(Text(f"{activity} …"))
        for stage, steps in trace.steps_by_stage(self._graph).items():
            for step in steps:
                key = (activity, stage, step.number, step.running)
                if step.ran and key not in self._printed:
                    self._printed.add(key)
                    self._print_step(stage, step)

    def _print_step(self, stage: str, step: StepRun) -> None:
        """Print that a step runs, or how long it took."""
        name = _shorten_name(step)
        end = "…" if step.running else f"{step.seconds:.1f} s"
        line = f"  {stage} {step.number}: {name} {end}"
        self._console.print(Text(line))


def interrupt_note(activity: str) -> str:
    """Return two lines: what the interrupt ended, and what to do next."""
    if activity.startswith("saving"):
        state = "the image is complete, but not all caches are saved"
        hint = "run the build again to save them"
    else:
        state = "the build is cancelled"
        hint = "run the build again; every ref in the registry is complete, either old or new"
    interrupted = f"interrupted while {activity}" if activity else "interrupted"
    return f"{interrupted}: {state}\n  → {hint}"


def _draw_view(graph: StageGraph, activity: str, trace: Trace) -> Group:
    """Draw a line for each stage whose steps BuildKit has reported."""
    table = Table.grid(padding=(0, 2))
    for stage, steps in trace.steps_by_stage(graph).items():
        if steps:
            state, current_step = _describe_state(steps)
            table.add_row(Text(stage), state, current_step)
    title = Text(f"{activity} …", style="bold")
    return Group(title, table)


def _describe_state(steps: tuple[StepRun, ...]) -> tuple[Text, Text]:
    """Return the state of a stage, and the step that runs now."""
    for step in steps:
        if step.running:
            position = f"{step.number}/{len(steps)}"
            current_step = f"{position} {_shorten_name(step)}"
            return Text("running", style="yellow"), Text(current_step)
    instructions = [step for step in steps if not step.is_from]
    if any(step.ran for step in steps):
        state = Text("rebuilt", style="yellow")
    elif all(step.cached for step in instructions):
        state = Text("restored", style="green")
    else:
        state = Text("waiting", style="dim")
    return state, Text()


def _shorten_name(step: StepRun) -> str:
    """Return the step's text on one line of limited width."""
    text = " ".join(step.name.split())
    if len(text) <= _MAX_STEP_WIDTH:
        return text
    return f"{text[: _MAX_STEP_WIDTH - 1]}…"
