"""Render a build as Markdown, for GitHub's step summary and pull requests. Pure."""

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
from stagebake.report.cost_lines import blame_sentence, transfer_lines
from stagebake.report.tables import mount_words, size_words

_RESULTS = {
    "restored": "✓ restored",
    "rebuilt": "→ rebuilt",
    "unused": "unused",
}
# Name of each budget in the summary
_PUSHES = {
    "restore": "a push without changes",
    "code": "a code change",
    "dependencies": "a dependency change",
    "full": "a full build",
}
_MIN_CHART_SECONDS = 0.5
_MAX_LABEL_WIDTH = 40


@dataclass(frozen=True, kw_only=True)
class UsualStage:
    """Stage in earlier builds: the seconds that it last took to run, and the bytes of its own layers."""

    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class _ChartStep:
    """Interval in which a step ran, or in which its layers were pulled."""

    stage: StageResult
    name: str
    start: float
    end: float


def usual_stages(ledgers: Sequence[Ledger], graph: StageGraph) -> dict[str, UsualStage]:
    """Return what the ledgers, nearest scope first, know of each stage."""
    stages: dict[str, UsualStage] = {}
    for name in graph.names:
        entries = stage_entries(ledgers, name)
        known_sizes = (entry.bytes for entry in entries if entry.bytes)
        stages[name] = UsualStage(
            seconds=last_seconds(ledgers, name),
            bytes=next(known_sizes, None),
        )
    return stages


def render_summary(
    result: BuildResult,
    reasons: Mapping[str, Reasons],
    graph: StageGraph,
    budgets: Mapping[str, float],
    mirror: str | None = None,
    usual: Mapping[str, UsualStage] | None = None,
) -> str:
    """Return the summary of a build: stages, time against the budgets (in minutes), transfers, timeline, warnings.

    `usual` is what earlier builds tell of the stages; `mirror` is a registry mirror to pull the image from.
    """
    usual = usual or {}
    blocks = [
        _summary_heading(result),
        _stage_table(result, reasons, usual),
        _budget_sentence(result, budgets),
        _without_caches_sentence(result, graph, usual),
        _transfer_words(result),
        _transfer_list(result),
        _pull_commands(result, mirror),
        _timeline_chart(result),
    ]
    for name in result.healed:
        blocks.append(f"> [!NOTE]\n> The cache of `{name}` was broken; this build did not use it.")
    for warning in result.warnings:
        blocks.append(f"> [!WARNING]\n> {_escape_text(warning)}")
    return _join_blocks(blocks)


def render_failure(error: StagebakeError) -> str:
    """Return the summary of an error: the message, the end of the failing step's output, and the hint."""
    log = "\n".join(error.log).replace("```", "'''")
    blocks = [
        "### stagebake failed",
        f"> [!CAUTION]\n> {_escape_text(error.problem)}",
        f"```text\n{log}\n```" if log else "",
        f"→ {_escape_text(error.hint)}",
    ]
    return _join_blocks(blocks)


def _join_blocks(blocks: Sequence[str]) -> str:
    """Join the blocks that are not empty."""
    return "\n\n".join(block for block in blocks if block) + "\n"


def _escape_text(text: str) -> str:
    """Return text on one line that Markdown shows literally."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return " ".join(escaped.split())


def _summary_heading(result: BuildResult) -> str:
    rebuilt = _stages_with_status(result, "rebuilt")
    time = format_seconds(result.ship_seconds)
    if rebuilt:
        return f"### Rebuilt {', '.join(rebuilt)} in {time}"
    return f"### Restored all stages in {time}"


def _stages_with_status(result: BuildResult, status: str) -> list[str]:
    return [stage.name for stage in result.stages if stage.status == status]


def _stage_table(
    result: BuildResult,
    reasons: Mapping[str, Reasons],
    usual: Mapping[str, UsualStage],
) -> str:
    rows = [
        "| stage | result | why | time | pulled | pushed | size | cache |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for stage in result.stages:
        why = reasons.get(stage.name, ())
        known = usual.get(stage.name, UsualStage())
        rows.append(_stage_row(stage, why, known))
    return "\n".join(rows)


def _stage_row(stage: StageResult, reasons: Reasons, usual: UsualStage) -> str:
    why = "<br>".join(_code_cell(line) for line in reason_lines(stage.name, reasons))
    time = ""
    size = ""
    if stage.status != "unused":
        time = format_seconds(stage.seconds)
        size = _layer_size(stage, usual)
    pulled, pushed = size_words(stage.pulled), size_words(stage.pushed)
    cells = (f"`{stage.name}`", _RESULTS[stage.status], why, time, pulled, pushed, size, _cache_cell(stage))
    return f"| {' | '.join(cells)} |"


def _code_cell(text: str) -> str:
    """Return text as code that does not end the cell of a table."""
    escaped = _escape_text(text).replace("|", "&#124;")
    return f"<code>{escaped}</code>"


def _layer_size(stage: StageResult, usual: UsualStage) -> str:
    """Return the size of the stage's own layers: of the saved cache, else of an earlier build; "" if not known."""
    size = usual.bytes
    if stage.cache and stage.cache.saved:
        size = stage.cache.bytes
    return "" if size is None else format_size(size)


def _cache_cell(stage: StageResult) -> str:
    if stage.cache is None:
        return ""
    return "saved" if stage.cache.saved else "**not saved**"


def _budget_sentence(result: BuildResult, budgets: Mapping[str, float]) -> str:
    """Compare the time until the image was available with the budget of such a push; if it is missed, blame a step."""
    kind = _push_kind(result)
    time = format_seconds(result.ship_seconds)
    budget = f"{budgets[kind]:g} min for {_PUSHES[kind]}"
    if result.ship_seconds > budgets[kind] * 60:
        blame = blame_sentence(result)
        hint = "`stagebake doctor` says what to change in the Dockerfile."
        return " ".join(filter(None, (f"**{time} is over the budget** of {budget}.", blame, hint)))
    return f"**{time}** is within the budget of {budget}."


def _push_kind(result: BuildResult) -> str:
    """Return the budget that applies; a step that installs packages makes the push a dependency change."""
    rebuilt = [stage for stage in result.stages if stage.status == "rebuilt"]
    if not rebuilt:
        return "restore"
    if not _stages_with_status(result, "restored"):
        return "full"
    steps = [step for stage in rebuilt for step in stage.steps]
    installed = any(step.ran and is_install(step.name) for step in steps)
    return "dependencies" if installed else "code"


def _without_caches_sentence(
    result: BuildResult,
    graph: StageGraph,
    usual: Mapping[str, UsualStage],
) -> str:
    """Estimate the time of the same push without caches; "" if the time of a stage is not known."""
    seconds = {stage.name: stage.seconds for stage in result.stages}
    for name in _stages_with_status(result, "restored"):
        run_seconds = usual.get(name, UsualStage()).seconds
        if run_seconds is None:
            return ""
        seconds[name] = max(run_seconds, seconds[name])
    overhead = overhead_seconds(result, graph)
    total = total_build_seconds(graph, seconds, overhead)
    if total <= result.ship_seconds:
        return ""
    return f"Without caches this push would have taken {format_seconds(total)}, based on the last run of each stage."


def _transfer_words(result: BuildResult) -> str:
    """Name the download, the saved caches and the cache mounts; "" if there were none."""
    transfers: list[str] = []
    if result.pulled:
        transfers.append(f"{format_size(result.pulled)} pulled")
    if result.has_saved_caches:
        time = format_seconds(result.save_seconds)
        transfers.append(f"caches saved in {time}, {format_size(result.pushed)} uploaded")
    for mount in result.mounts:
        transfers.append(mount_words(mount))
    return "; ".join(transfers)


def _transfer_list(result: BuildResult) -> str:
    """Say which steps needed the most bytes, as a list; "" where none did."""
    return "\n".join(f"- {line}" for line in transfer_lines(result.stages))


def _pull_commands(result: BuildResult, mirror: str | None) -> str:
    """Return the commands that pull the image from its registry and from the mirror; "" if it was not pushed."""
    if not result.pushed_image:
        return ""
    commands = [f"docker pull {result.image}"]
    if mirror:
        host = mirror.removeprefix("https://").rstrip("/")
        _, _, path = result.image.partition("/")
        commands.append(f"docker pull {host}/{path}")
    return "\n".join(["```console", *commands, "```"])


def _timeline_chart(result: BuildResult) -> str:
    """Draw the steps that took time as a Mermaid gantt chart (mermaid.js.org/syntax/gantt.html); "" without any.

    Times are milliseconds since the first step: `dateFormat X` of Mermaid 11 reads a start in milliseconds and an end
    in seconds, `x` reads both in milliseconds.
    """
    steps = _collect_chart_steps(result)
    if not steps:
        return ""
    first_start = min(step.start for step in steps)
    lines = ["```mermaid", "gantt", "  dateFormat x", "  axisFormat %M:%S"]
    section = None
    for step in steps:
        if step.stage.name != section:
            section = step.stage.name
            lines.append(f"  section {section}")
        style = "active" if step.stage.status == "rebuilt" else "done"
        start = round(1000 * (step.start - first_start))
        end = round(1000 * (step.end - first_start))
        lines.append(f"  {_chart_label(step.name)} :{style}, {start}, {end}")
    return "\n".join([*lines, "```"])


def _collect_chart_steps(result: BuildResult) -> list[_ChartStep]:
    """Return the intervals that are long enough to see, in the order of the stages and their starts."""
    found: list[_ChartStep] = []
    for stage in result.stages:
        chart_steps: list[_ChartStep] = []
        for step in stage.steps:
            for start, end in step.intervals:
                if end - start >= _MIN_CHART_SECONDS:
                    chart_steps.append(_ChartStep(stage, step.name, start, end))
        found += sorted(chart_steps, key=lambda chart_step: chart_step.start)
    return found


def _chart_label(step: str) -> str:
    """Return a step's name without the characters that have a meaning in Mermaid."""
    words = re.sub(r"[^\w./=@-]+", " ", step, flags=re.ASCII).split()
    label = " ".join(words)[:_MAX_LABEL_WIDTH].strip()
    return label or "step"
