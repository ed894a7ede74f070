"""A BuildResult as people and machines read it, and the progress of a build while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stagebake import outcome, reasons
from stagebake.dockerfile import StageGraph
from stagebake.events import Step, Trace
from stagebake.outcome import BuildResult, CarriedMount, StageResult
from stagebake.purge import Purged

_LOG_WIDTH = 240
_STYLES = {"restored": "green", "rebuilt": "yellow", "unused": "dim"}


def to_json(result: BuildResult) -> str:
    """The report for machines. Times in seconds, sizes in bytes; the names are stable."""
    document = {
        "stages": [_stage_json(stage) for stage in result.stages],
        "image": result.image,
        "tags": list(result.refs),
        "digest": result.digest,
        "seconds": {"ship": round(result.ship_seconds, 3), "save": round(result.save_seconds, 3)},
        "bytes": {"pulled": result.pulled, "pushed": result.pushed},
        "healed": list(result.healed),
        "mounts": [{"id": mount.id, "restored": mount.restored, "saved": mount.saved} for mount in result.mounts],
        "warnings": list(result.warnings),
    }
    return json.dumps(document, indent=2) + "\n"


def _stage_json(stage: StageResult) -> dict[str, Any]:
    return {
        "name": stage.name,
        "status": stage.status,
        "seconds": round(stage.seconds, 3),
        "reasons": [{"kind": reason.kind, "what": reason.what} for reason in stage.reasons],
        "steps": [{"name": s.name, "cached": not s.ran, "seconds": round(s.seconds, 3)} for s in stage.steps],
        "cache": None
        if stage.cache is None
        else {"ref": stage.cache.ref, "saved": stage.cache.saved, "bytes": stage.cache.bytes},
    }


def console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given as it is; on anything but a terminal without colour and full width."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _LOG_WIDTH
    return made


def show(result: BuildResult, console: Console, *, verbose: bool = False) -> None:
    """The table of stages, what it came to, and the warnings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("stage", ""):
        table.add_column(heading, no_wrap=True)
    table.add_column("seconds", justify="right")
    for heading in ("why", "cache"):
        table.add_column(heading)
    for stage in result.stages:
        table.add_row(
            Text(stage.name),
            Text(stage.status, style=_STYLES[stage.status]),
            f"{stage.seconds:.1f}" if stage.status != "unused" else "",
            Text("\n".join(reasons.lines(stage.name, stage.reasons, verbose=verbose))),
            saved(stage),
        )
    console.print(table)
    console.print(Text(_total(result)))
    for mount in result.mounts:
        console.print(Text(carried(mount)))
    for name in result.healed:
        console.print(Text.assemble(("healed", "yellow"), f": the cache of {name} was broken and is left out"))
    for warning in result.warnings:
        console.print(Text.assemble(("warning", "yellow"), f": {warning}"))


def show_purged(purged: Purged, image: str, console: Console, *, dry_run: bool) -> None:
    """The tags that are gone, and what stays and why."""
    for tag in purged.tags:
        console.print(Text(f"{'would delete' if dry_run else 'deleted'} {image}:{tag}"))
    for kept in purged.kept:
        console.print(Text.assemble(("kept", "yellow"), f" {image}:{', '.join(sorted(kept.tags))} ({kept.why})"))
    if not purged.tags and not purged.kept:
        console.print(Text(f"{image} has no such caches"))


def size(count: int) -> str:
    """Bytes as people read them."""
    if count < 1000:
        return f"{count} B"
    for divisor, unit in ((1e3, "kB"), (1e6, "MB")):
        if count < 999.95 * divisor:
            return f"{count / divisor:.1f} {unit}"
    return f"{count / 1e9:.1f} GB"


def clock(seconds: float) -> str:
    """A time as people read it."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def saved(stage: StageResult) -> str:
    """What became of a stage's cache, in words."""
    if stage.cache is None:
        return ""
    return f"saved, {size(stage.cache.bytes)} new" if stage.cache.saved else "not saved"


def carried(mount: CarriedMount) -> str:
    """What was done with a cache mount, in words."""
    moves = (("restored", mount.restored), ("saved", mount.saved))
    return f"cache mount {mount.id}: " + ", ".join(
        f"{size(count)} {word}" for word, count in moves if count is not None
    )


def _total(result: BuildResult) -> str:
    parts = [f"{result.image} in {result.ship_seconds:.1f} s"]
    parts += [f"{size(result.pulled)} pulled"] if result.pulled else []
    parts += [f"caches saved in {result.save_seconds:.1f} s"] if result.saves else []
    return ", ".join(parts)


class Progress:
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
            interrupt.add_note(interrupted(self._doing))
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
        for stage, steps in outcome.by_stage(self._graph, trace).items():
            for step in steps:
                key = (doing, stage, step.number, step.running)
                if step.ran and key not in self._said:
                    self._said.add(key)
                    end = "…" if step.running else f"{step.seconds:.1f} s"
                    self._console.print(Text(f"  {stage} {step.number}: {_short(step)} {end}"))


def interrupted(doing: str) -> str:
    """What an interrupt leaves behind, in two lines."""
    if doing.startswith("saving"):
        rest = "the image is out, its caches are not all saved\n  → build again to save them"
    else:
        rest = "the build is cancelled\n  → build again when you like: every ref in the registry is whole, old or new"
    return f"interrupted while {doing}: {rest}" if doing else f"interrupted: {rest}"


def _view(graph: StageGraph, doing: str, trace: Trace) -> Group:
    table = Table.grid(padding=(0, 2))
    for stage, steps in outcome.by_stage(graph, trace).items():
        if steps:
            table.add_row(Text(stage), *_state(steps))
    return Group(Text(f"{doing} …", style="bold"), table)


def _state(steps: tuple[Step, ...]) -> tuple[Text, Text]:
    running = [step for step in steps if step.running]
    if running:
        return Text("running", style="yellow"), Text(f"{running[0].number}/{len(steps)} {_short(running[0])}")
    if any(step.ran for step in steps):
        return Text("rebuilt", style="yellow"), Text()
    if all(step.cached for step in steps if not step.is_from):
        return Text("restored", style="green"), Text()
    return Text("waiting", style="dim"), Text()


def _short(step: Step) -> str:
    text = " ".join(step.name.split())
    return text if len(text) <= 80 else f"{text[:79]}…"
