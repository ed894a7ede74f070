"""A BuildResult as Markdown, for GitHub's step summary and pull requests. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stagebake.build.result import BuildResult, StageResult
from stagebake.dockerfile.package_managers import is_install
from stagebake.dockerfile.stages import StageGraph
from stagebake.errors import StagebakeError
from stagebake.explain.after_build import overhead_seconds
from stagebake.explain.decision import Reasons
from stagebake.explain.ledger import Ledger, last_seconds, stage_entries
from stagebake.explain.reasons import reason_lines
from stagebake.explain.stage_times import total_build_seconds
from stagebake.formatting import format_seconds, format_size
from stagebake.report.tables import mount_words

_MARKS = {"restored": "✓ restored", "rebuilt": "→ rebuilt", "unused": "unused"}
_PUSHES = {
    "restore": "a push that changes nothing",
    "code": "a change of code",
    "dependencies": "a change of dependencies",
    "full": "a full build",
}


@dataclass(frozen=True, kw_only=True)
class UsualStage:
    """What is known of a stage from earlier builds: the seconds it last took to run, the bytes of its own layers."""

    seconds: float | None = None
    bytes: int | None = None


def usual_stages(ledgers: Sequence[Ledger], graph: StageGraph) -> dict[str, UsualStage]:
    """Return what the ledgers, nearest scope first, know of each stage."""
    stages: dict[str, UsualStage] = {}
    for name in graph.names:
        sizes = (entry.bytes for entry in stage_entries(ledgers, name) if entry.bytes)
        stages[name] = UsualStage(seconds=last_seconds(ledgers, name), bytes=next(sizes, None))
    return stages


def render_summary(
    result: BuildResult,
    reasons: Mapping[str, Reasons],
    graph: StageGraph,
    budgets: Mapping[str, float],
    mirror: str | None = None,
    usual: Mapping[str, UsualStage] | None = None,
) -> str:
    """The table of stages, the time against the budgets (minutes) and without caches, the timeline, the warnings.

    `usual` is what earlier builds say of the stages; what is not known is left out.
    """
    usual = usual or {}
    parts = [
        f"### {_heading(result)}",
        _table(result, reasons, usual),
        _against(result, budgets),
        _without_caches(result, graph, usual),
        _moved(result),
        _pull(result, mirror) if result.pushed_image else "",
        _timeline(result),
        *(f"> [!NOTE]\n> The cache of `{name}` was broken and is left out." for name in result.healed),
        *(f"> [!WARNING]\n> {_literal(warning)}" for warning in result.warnings),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_failure(error: StagebakeError) -> str:
    """What went wrong, what to do next, and the end of what the failing step printed."""
    log = "\n".join(error.log).replace("```", "'''")
    parts = [
        "### The image was not built",
        f"> [!CAUTION]\n> {_literal(error.what)}",
        f"```text\n{log}\n```" if log else "",
        f"→ {_literal(error.remedy)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(result: BuildResult) -> str:
    rebuilt = _named(result, "rebuilt")
    done = f"rebuilt {', '.join(rebuilt)}" if rebuilt else "everything restored"
    return f"{done}: {format_seconds(result.ship_seconds)}"


def _named(result: BuildResult, status: str) -> list[str]:
    return [stage.name for stage in result.stages if stage.status == status]


def _table(result: BuildResult, reasons: Mapping[str, Reasons], usual: Mapping[str, UsualStage]) -> str:
    rows = ["| stage | | why | time | size | cache |", "|---|---|---|---:|---:|---|"]
    rows += [_row(stage, reasons.get(stage.name, ()), usual.get(stage.name, UsualStage())) for stage in result.stages]
    return "\n".join(rows)


def _row(stage: StageResult, reasons: Reasons, usual: UsualStage) -> str:
    why = "<br>".join(_cell(line) for line in reason_lines(stage.name, reasons))
    seconds = format_seconds(stage.seconds) if stage.status != "unused" else ""
    count = stage.cache.bytes if stage.cache and stage.cache.saved else usual.bytes
    size = format_size(count) if count is not None and stage.status != "unused" else ""
    saved = "" if stage.cache is None else "saved" if stage.cache.saved else "**not saved**"
    return f"| `{stage.name}` | {_MARKS[stage.status]} | {why} | {seconds} | {size} | {saved} |"


def _cell(text: str) -> str:
    """Text in a table's cell, taken literally."""
    return f"<code>{_literal(text).replace('|', '&#124;')}</code>"


def _literal(text: str) -> str:
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())


def _against(result: BuildResult, budgets: Mapping[str, float]) -> str:
    """The time until the image was out, and whether that is within the budget of such a push."""
    kind = _kind(result)
    time, budget = format_seconds(result.ship_seconds), f"{_PUSHES[kind]}, {budgets[kind]:g} min."
    if result.ship_seconds > budgets[kind] * 60:
        return f"**{time} is over the budget** of {budget}"
    return f"**{time}** is within the budget of {budget}"


def _kind(result: BuildResult) -> str:
    """The kind of push by what ran: a step that installs packages makes it one of dependencies."""
    rebuilt = [stage for stage in result.stages if stage.status == "rebuilt"]
    if not rebuilt:
        return "restore"
    if not _named(result, "restored"):
        return "full"
    installed = any(step.ran and is_install(step.name) for stage in rebuilt for step in stage.steps)
    return "dependencies" if installed else "code"


def _without_caches(result: BuildResult, graph: StageGraph, usual: Mapping[str, UsualStage]) -> str:
    """What the same push would have cost if every stage had run; empty where that is not known of one."""
    seconds = {stage.name: stage.seconds for stage in result.stages}
    for name in _named(result, "restored"):
        ran = usual.get(name, UsualStage()).seconds
        if ran is None:
            return ""
        seconds[name] = max(ran, seconds[name])
    total = total_build_seconds(graph, seconds, overhead_seconds(result, graph))
    if total <= result.ship_seconds:
        return ""
    return (
        f"Without caches it would have taken {format_seconds(total)}, if each stage took as long as when it last ran."
    )


def _moved(result: BuildResult) -> str:
    """What was downloaded, and what became of caches and cache mounts; empty where there is nothing to say."""
    parts = [f"{format_size(result.pulled)} pulled"] if result.pulled else []
    if result.saves:
        parts.append(f"caches saved in {format_seconds(result.save_seconds)}, {format_size(result.pushed)} of them new")
    return "; ".join([*parts, *map(mount_words, result.mounts)])


def _pull(result: BuildResult, mirror: str | None) -> str:
    image = result.image
    lines = [f"docker pull {image}"]
    if mirror:
        host = mirror.removeprefix("https://").rstrip("/")
        lines.append(f"docker pull {host}/{image.partition('/')[2]}")
    return "```console\n" + "\n".join(lines) + "\n```"


def _timeline(result: BuildResult) -> str:
    """A Mermaid gantt of the steps that took time, in milliseconds since the first (mermaid.js.org/syntax/gantt.html).

    With `dateFormat X` Mermaid 11 takes a start for milliseconds and an end for seconds; `x` is milliseconds for both.
    """
    steps = [
        (stage, step.name, start, end)
        for stage in result.stages
        for step in stage.steps
        for start, end in step.intervals
        if end - start >= 0.5
    ]
    if not steps:
        return ""
    zero = min(start for _, _, start, _ in steps)
    lines = ["```mermaid", "gantt", "  dateFormat x", "  axisFormat %M:%S"]
    section = None
    for stage, name, start, end in sorted(steps, key=lambda step: (result.stages.index(step[0]), step[2])):
        if stage.name != section:
            section = stage.name
            lines.append(f"  section {section}")
        kind = "active" if stage.status == "rebuilt" else "done"
        first, last = (round(1000 * (moment - zero)) for moment in (start, end))
        lines.append(f"  {_label(name)} :{kind}, {first}, {last}")
    return "\n".join([*lines, "```"])


def _label(step: str) -> str:
    """A step's name without the signs that mean something to Mermaid."""
    return " ".join(re.sub(r"[^\w./=@-]+", " ", step, flags=re.ASCII).split())[:40].strip() or "step"
