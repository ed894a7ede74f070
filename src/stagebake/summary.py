"""A BuildResult as Markdown, for GitHub's step summary and pull requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stagebake import report
from stagebake.outcome import BuildResult, StageResult

_MARKS = {"restored": "✓ restored", "rebuilt": "→ rebuilt", "unused": "unused"}


def render(result: BuildResult, budgets: Mapping[str, float], mirror: str | None = None) -> str:
    """The table of stages, the time against the budgets (minutes), the timeline and the warnings."""
    parts = [
        f"### {_heading(result)}",
        _table(result),
        _against(result.ship_seconds, budgets),
        _pull(result, mirror) if result.pushed_image else "",
        _timeline(result),
        "\n".join(f"> [!WARNING]\n> {warning}\n" for warning in result.warnings),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(result: BuildResult) -> str:
    rebuilt = [stage.name for stage in result.stages if stage.status == "rebuilt"]
    done = f"rebuilt {', '.join(rebuilt)}" if rebuilt else "everything restored"
    return f"{done}: {report.clock(result.ship_seconds)}"


def _table(result: BuildResult) -> str:
    rows = ["| stage | | why | time | cache |", "|---|---|---|---:|---|"]
    rows += [_row(stage) for stage in result.stages]
    return "\n".join(rows)


def _row(stage: StageResult) -> str:
    why = "<br>".join(_cell(report.why(reason)) for reason in stage.reasons[:3])
    seconds = report.clock(stage.seconds) if stage.status != "unused" else ""
    return f"| `{stage.name}` | {_MARKS[stage.status]} | {why} | {seconds} | {report.saved(stage)} |"


def _cell(text: str) -> str:
    """Text in a table's cell, taken literally."""
    return "<code>" + text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;") + "</code>"


def _against(seconds: float, budgets: Mapping[str, float]) -> str:
    """Which of the budgets the time keeps."""
    met = [f"{name} ({minutes:g} min)" for name, minutes in budgets.items() if seconds <= minutes * 60]
    if not met:
        return f"**{report.clock(seconds)}** is over every budget."
    return f"**{report.clock(seconds)}** is within the budget for: {', '.join(met)}."


def _pull(result: BuildResult, mirror: str | None) -> str:
    image = result.image
    lines = [f"docker pull {image}"]
    if mirror:
        lines.append(f"docker pull {mirror.rstrip('/')}/{image.partition('/')[2]}")
    return "```console\n" + "\n".join(lines) + "\n```"


def _timeline(result: BuildResult) -> str:
    """A Mermaid gantt of the steps that took time, in seconds since the first."""
    steps = [
        (stage, start, end)
        for stage in result.stages
        for start, end in sorted(interval for step in stage.steps for interval in step.intervals)
        if end - start >= 0.5
    ]
    if not steps:
        return ""
    zero = min(start for _, start, _ in steps)
    lines = ["```mermaid", "gantt", "  dateFormat X", "  axisFormat %M:%S"]
    section = None
    for stage, start, end in steps:
        if stage.name != section:
            section = stage.name
            lines.append(f"  section {section}")
        kind = "active, " if stage.status == "rebuilt" else "done, "
        lines.append(f"  {stage.status} :{kind}{int(start - zero)}, {max(int(end - zero), int(start - zero) + 1)}")
    return "\n".join([*lines, "```"])
