"""A BuildResult as people and machines read it, and the progress of a build while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stagebake.build.result import BuildResult, CarriedMount, StageResult
from stagebake.cache.prune import PurgeResult
from stagebake.explain.decision import Reasons
from stagebake.explain.plan import Plan
from stagebake.explain.reasons import reason_json, reason_lines
from stagebake.formatting import format_seconds, format_size, json_document

_LOG_WIDTH = 240
_STYLES = {"restored": "green", "rebuilt": "yellow", "unused": "dim"}


def build_report_json(result: BuildResult, reasons: Mapping[str, Reasons]) -> str:
    """The report for machines. Times in seconds, sizes in bytes; the names are stable."""
    document = {
        "stages": [_stage_json(stage, reasons.get(stage.name, ())) for stage in result.stages],
        "image": result.image,
        "tags": list(result.refs),
        "digest": result.digest,
        "seconds": {"ship": round(result.ship_seconds, 3), "save": round(result.save_seconds, 3)},
        "bytes": {"pulled": result.pulled, "pushed": result.pushed},
        "healed": list(result.healed),
        "mounts": [{"id": mount.id, "restored": mount.restored, "saved": mount.saved} for mount in result.mounts],
        "warnings": list(result.warnings),
    }
    return json_document(document)


def _stage_json(stage: StageResult, reasons: Reasons) -> dict[str, Any]:
    return {
        "name": stage.name,
        "status": stage.status,
        "seconds": round(stage.seconds, 3),
        "reasons": [reason_json(reason) for reason in reasons],
        "steps": [{"name": s.name, "cached": not s.ran, "seconds": round(s.seconds, 3)} for s in stage.steps],
        "cache": None
        if stage.cache is None
        else {"ref": stage.cache.ref, "saved": stage.cache.saved, "bytes": stage.cache.bytes},
    }


def make_console(*, stderr: bool = False) -> Console:
    """A console that prints what it is given as it is; on anything but a terminal without colour and full width."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _LOG_WIDTH
    return made


def show_build(result: BuildResult, reasons: Mapping[str, Reasons], console: Console, *, verbose: bool = False) -> None:
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
            Text("\n".join(reason_lines(stage.name, reasons.get(stage.name, ()), verbose=verbose))),
            cache_words(stage),
        )
    console.print(table)
    console.print(Text(_build_total(result)))
    for mount in result.mounts:
        console.print(Text(mount_words(mount)))
    for name in result.healed:
        console.print(Text.assemble(("healed", "yellow"), f": the cache of {name} was broken and is left out"))
    for warning in result.warnings:
        console.print(Text.assemble(("warning", "yellow"), f": {warning}"))


def show_purged(purged: PurgeResult, image: str, console: Console, *, dry_run: bool) -> None:
    """The tags that are gone, and what stays and why."""
    for tag in purged.tags:
        console.print(Text(f"{'would delete' if dry_run else 'deleted'} {image}:{tag}"))
    for kept in purged.kept:
        console.print(Text.assemble(("kept", "yellow"), f" {image}:{', '.join(sorted(kept.tags))} ({kept.why})"))
    if not purged.tags and not purged.kept:
        console.print(Text(f"{image} has no such caches"))


def cache_words(stage: StageResult) -> str:
    """What became of a stage's cache, in words."""
    if stage.cache is None:
        return ""
    return f"saved, {format_size(stage.cache.bytes)} new" if stage.cache.saved else "not saved"


def mount_words(mount: CarriedMount) -> str:
    """What was done with a cache mount, in words."""
    moves = (("restored", mount.restored), ("saved", mount.saved))
    return f"cache mount {mount.id}: " + ", ".join(
        f"{format_size(count)} {word}" for word, count in moves if count is not None
    )


def _build_total(result: BuildResult) -> str:
    parts = [f"{result.image} in {result.ship_seconds:.1f} s"]
    parts += [f"{format_size(result.pulled)} pulled"] if result.pulled else []
    parts += [f"caches saved in {result.save_seconds:.1f} s"] if result.saves else []
    return ", ".join(parts)


_VERDICT_STYLES = {"restore": "green", "rebuild": "yellow", "unknown": "magenta"}


def show_plan(plan: Plan, budgets: Mapping[str, float], console: Console, *, verbose: bool = False) -> None:
    """The table of stages, the time against the budgets (minutes), and the warnings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("stage", "expected"):
        table.add_column(heading, no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("why")
    for stage in plan.stages:
        table.add_row(
            Text(stage.name),
            Text(stage.verdict, style=_VERDICT_STYLES[stage.verdict]),
            "" if stage.seconds is None else f"{stage.seconds:.1f}",
            Text("\n".join(reason_lines(stage.name, stage.reasons, verbose=verbose))),
        )
    console.print(table)
    console.print(Text(_plan_total(plan, budgets)))
    for warning in plan.warnings:
        console.print(Text.assemble(("warning", "yellow"), f": {warning}"))


def _plan_total(plan: Plan, budgets: Mapping[str, float]) -> str:
    if plan.seconds is None:
        return "how long it will take is not known: no ledger has the time of every stage"
    met = [f"{name} ({minutes:g} min)" for name, minutes in budgets.items() if plan.seconds <= minutes * 60]
    kept = f"within the budget for: {', '.join(met)}" if met else "over every budget"
    if met and (untimed := [s.name for s in plan.stages if s.verdict == "restore" and s.seconds is None]):
        return f"expected at least {format_seconds(plan.seconds)}: it is not known how long {', '.join(untimed)} takes"
    return f"expected {format_seconds(plan.seconds)}, which is {kept}"
