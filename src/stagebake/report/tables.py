"""Show a build, a plan or deleted caches as tables on the console, and a build as a JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stagebake.build.result import BuildResult, CarriedMount, SavedCache, StageResult, StepCost
from stagebake.buildkit.events import StepRun
from stagebake.cache.prune import PurgeResult
from stagebake.explain.decision import Reasons
from stagebake.explain.plan import Plan
from stagebake.explain.reasons import reason_json, reason_lines
from stagebake.formatting import format_seconds, format_size, json_document
from stagebake.report.cost_lines import planned_lines, transfer_lines

# Width of the output that is not a terminal, such as the log of a CI job
_LOG_WIDTH = 240
_RESULT_STYLES = {"restored": "green", "rebuilt": "yellow", "unused": "dim"}
_VERDICT_STYLES = {"restore": "green", "rebuild": "yellow", "unknown": "magenta"}


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text literally; without a terminal it prints no colour and long lines."""
    console = Console(
        stderr=stderr,
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=True,
    )
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    return console


def show_build(
    result: BuildResult,
    reasons: Mapping[str, Reasons],
    console: Console,
    *,
    verbose: bool = False,
) -> None:
    """Print the table of stages, the totals, and what needs attention; `verbose` prints all reasons of a stage."""
    table = make_table()
    table.add_column("stage", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("pulled", justify="right", no_wrap=True)
    table.add_column("pushed", justify="right", no_wrap=True)
    table.add_column("why")
    table.add_column("cache")
    for stage in result.stages:
        why = reason_lines(stage.name, reasons.get(stage.name, ()), verbose=verbose)
        table.add_row(
            Text(stage.name),
            Text(stage.status, style=_RESULT_STYLES[stage.status]),
            f"{stage.seconds:.1f}" if stage.status != "unused" else "",
            size_words(stage.pulled),
            size_words(stage.pushed),
            Text("\n".join(why)),
            cache_words(stage),
        )
    console.print(table)
    for line in transfer_lines(result.stages):
        console.print(Text(line))
    console.print(Text(_total_words(result)))
    for mount in result.mounts:
        console.print(Text(mount_words(mount)))
    for name in result.healed:
        print_label(console, "healed", f": the cache of {name} was broken; this build did not use it")
    _print_warnings(console, result.warnings)


def show_plan(
    plan: Plan,
    budgets: Mapping[str, float],
    console: Console,
    *,
    verbose: bool = False,
) -> None:
    """Print the table of stages, the expected time against the budgets (in minutes), and the warnings."""
    table = make_table()
    table.add_column("stage", no_wrap=True)
    table.add_column("expected", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("pulled", justify="right", no_wrap=True)
    table.add_column("pushed", justify="right", no_wrap=True)
    table.add_column("why")
    for stage in plan.stages:
        why = reason_lines(stage.name, stage.reasons, verbose=verbose)
        table.add_row(
            Text(stage.name),
            Text(stage.verdict, style=_VERDICT_STYLES[stage.verdict]),
            "" if stage.seconds is None else f"{stage.seconds:.1f}",
            size_words(stage.moved.pulled) if stage.moved else "?",
            size_words(stage.moved.pushed) if stage.moved else "?",
            Text("\n".join(why)),
        )
    console.print(table)
    for line in planned_lines(plan.stages):
        console.print(Text(line))
    console.print(Text(_expected_time_words(plan, budgets)))
    for note in plan.notes:
        print_label(console, "note", f": {note}")
    _print_warnings(console, plan.warnings)


def show_purged(
    purged: PurgeResult,
    image: str,
    console: Console,
    *,
    dry_run: bool,
) -> None:
    """Print the deleted tags, and the tags that were kept with the reason."""
    verb = "would delete" if dry_run else "deleted"
    for tag in purged.tags:
        console.print(Text(f"{verb} {image}:{tag}"))
    for kept in purged.kept:
        tags = ", ".join(sorted(kept.tags))
        print_label(console, "kept", f" {image}:{tags} ({kept.why})")
    if not purged.tags and not purged.kept:
        console.print(Text(f"{image}: no matching caches"))


def make_table() -> Table:
    """Return an empty table as every verb prints it."""
    return Table(box=None, pad_edge=False, header_style="bold")


def _print_warnings(console: Console, warnings: Iterable[str]) -> None:
    for warning in warnings:
        print_label(console, "warning", f": {warning}")


def print_label(console: Console, label: str, text: str) -> None:
    """Print a line that begins with a coloured word."""
    console.print(Text.assemble((label, "yellow"), text))


def size_words(count: int | None) -> str:
    """Return a number of bytes for a cell of a table, "" for none."""
    return format_size(count) if count else ""


def cache_words(stage: StageResult) -> str:
    """Say whether the stage's cache was saved, and how many bytes of it were new to the registry."""
    if stage.cache is None:
        return ""
    if not stage.cache.saved:
        return "not saved"
    return f"saved, {format_size(stage.cache.bytes)} new"


def mount_words(mount: CarriedMount) -> str:
    """Say how many bytes of a cache mount were restored and saved."""
    actions: list[str] = []
    if mount.restored is not None:
        actions.append(f"{format_size(mount.restored)} restored")
    if mount.saved is not None:
        actions.append(f"{format_size(mount.saved)} saved")
    return f"cache mount {mount.id}: {', '.join(actions)}"


def _total_words(result: BuildResult) -> str:
    """Name the image, the time until it was available, the download, and the time of the save."""
    totals = [f"{result.image} in {result.ship_seconds:.1f} s"]
    if result.pulled:
        totals.append(f"{format_size(result.pulled)} pulled")
    if result.has_saved_caches:
        totals.append(f"caches saved in {result.save_seconds:.1f} s")
    return ", ".join(totals)


def _expected_time_words(plan: Plan, budgets: Mapping[str, float]) -> str:
    """Name the expected time and the budgets (in minutes) that it meets."""
    if plan.seconds is None:
        return "expected time unknown: no ledger knows how long every stage takes"
    time = format_seconds(plan.seconds)
    met = [f"{name} ({minutes:g} min)" for name, minutes in budgets.items() if plan.seconds <= minutes * 60]
    if not met:
        return f"expected {time}, over every budget"
    untimed = [stage.name for stage in plan.stages if stage.verdict == "restore" and stage.seconds is None]
    if untimed:
        return f"expected at least {time}; unknown restore time of {', '.join(untimed)}"
    return f"expected {time}, within the budget for {', '.join(met)}"


def build_report_json(result: BuildResult, reasons: Mapping[str, Reasons]) -> str:
    """Return the report of a build as a JSON document for machines, with times in seconds and sizes in bytes."""
    stages = [_stage_to_json(stage, reasons.get(stage.name, ())) for stage in result.stages]
    document = {
        "stages": stages,
        "image": result.image,
        "tags": list(result.refs),
        "digest": result.digest,
        "seconds": {
            "ship": round(result.ship_seconds, 3),
            "save": round(result.save_seconds, 3),
        },
        "bytes": {
            "pulled": result.pulled,
            "pushed": result.pushed,
        },
        "healed": list(result.healed),
        "mounts": [_mount_to_json(mount) for mount in result.mounts],
        "versions": {"buildkit": result.versions.buildkit, "buildx": result.versions.buildx},
        "warnings": list(result.warnings),
    }
    return json_document(document)


def _stage_to_json(stage: StageResult, reasons: Reasons) -> dict[str, Any]:
    return {
        "name": stage.name,
        "status": stage.status,
        "seconds": round(stage.seconds, 3),
        "reasons": [reason_json(reason) for reason in reasons],
        "steps": [_step_to_json(step) for step in stage.steps],
        "cache": _cache_to_json(stage.cache),
        "bytes": {
            "pulled": stage.pulled,
            "unpacked": stage.unpacked,
            "pushed": stage.pushed,
        },
        "costs": [_cost_to_json(cost) for cost in stage.costs],
    }


def _cost_to_json(cost: StepCost) -> dict[str, Any]:
    return {
        "step": cost.name,
        "line": cost.line,
        "bytes": {
            "pulled": cost.pulled,
            "unpacked": cost.unpacked,
            "pushed": cost.pushed,
        },
        "seconds": {
            "pull": round(cost.pull_seconds, 3),
            "run": round(cost.run_seconds, 3),
            "push": round(cost.push_seconds, 3),
        },
    }


def _step_to_json(step: StepRun) -> dict[str, Any]:
    return {
        "name": step.name,
        "cached": not step.ran,
        "seconds": round(step.seconds, 3),
        "intervals": [[round(start, 3), round(end, 3)] for start, end in step.intervals],
    }


def _cache_to_json(cache: SavedCache | None) -> dict[str, Any] | None:
    if cache is None:
        return None
    return {
        "ref": cache.ref,
        "saved": cache.saved,
        "bytes": cache.bytes,
    }


def _mount_to_json(mount: CarriedMount) -> dict[str, Any]:
    return {
        "id": mount.id,
        "restored": mount.restored,
        "saved": mount.saved,
    }
