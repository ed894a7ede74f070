"""Render builds as one HTML page that needs no network: stages, timeline, reasons, bytes, and a trend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

from stagebake.formatting import format_seconds, format_size
from stagebake.report.report_file import BuildReport, ReportedStage, ReportedStep

# Steps that are shorter than this part of the build are too narrow to see
_NARROWEST_PART = 0.002

# The page loads nothing and runs nothing (developer.mozilla.org, "Content-Security-Policy")
_ALLOWED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render_page(reports: Sequence[BuildReport], budgets: Mapping[str, float]) -> str:
    """Return the page for one build, the last of `reports`, and the trend if there are several.

    `reports` are in the order of time, `budgets` are minutes by name.
    """
    newest = reports[-1]
    style = (files("stagebake.report") / "page.css").read_text(encoding="utf-8")
    parts = [
        _render_heading(newest),
        _render_stages(newest),
        _render_timeline(newest),
        _render_trend(reports, budgets) if len(reports) > 1 else "",
        _render_warnings(newest),
    ]
    title = escape(f"Build of {newest.image}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_ALLOWED}">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n'
        f"{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _render_heading(report: BuildReport) -> str:
    facts = [
        ("image after", format_seconds(report.ship)),
        ("caches saved in", format_seconds(report.save)),
        ("pulled", format_size(report.pulled)),
        ("pushed", format_size(report.pushed)),
    ]
    if report.buildkit:
        facts.append(("BuildKit", report.buildkit))
    terms = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    when = _format_time(report.finished)
    tags = "".join(f"<li><code>{escape(tag)}</code></li>" for tag in report.tags)
    digest = f"<p><code>{escape(report.digest)}</code></p>" if report.digest else ""
    return (
        f"<h1>{escape(report.image)}</h1>\n<p>{escape(when)}</p>\n<dl>{terms}</dl>\n"
        f"<details><summary>Tags and digest</summary><ul>{tags}</ul>{digest}</details>\n"
    )


def _format_time(seconds: float | None) -> str:
    if seconds is None:
        return "All stages restored: no step ran"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _render_stages(report: BuildReport) -> str:
    rows = "".join(_render_stage(stage) for stage in report.stages)
    return (
        '<h2>Stages</h2>\n<div class="scroll"><table>\n<thead><tr><th>stage</th><th>result</th>'
        '<th class="number">seconds</th><th class="number">pulled</th><th class="number">pushed</th>'
        f"<th>cache</th><th>why</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )


def _render_stage(stage: ReportedStage) -> str:
    saved = {True: "saved", False: "not saved", None: ""}[stage.saved]
    why = "<br>".join(escape(reason) for reason in stage.reasons)
    return (
        f'<tr class="{escape(stage.status)}"><th>{escape(stage.name)}</th><td>{escape(stage.status)}</td>'
        f'<td class="number">{stage.seconds:.1f}</td><td class="number">{_format_moved(stage.pulled)}</td>'
        f'<td class="number">{_format_moved(stage.pushed)}</td><td>{saved}</td><td>{why}</td></tr>\n'
    )


def _format_moved(count: int) -> str:
    return format_size(count) if count else ""


def _render_timeline(report: BuildReport) -> str:
    """Return a bar for each interval of each step that took a visible part of the build."""
    start, end = report.started, report.finished
    if start is None or end is None or end <= start:
        return ""
    rows = "".join(_render_track(stage, start, end - start) for stage in report.stages if stage.status != "unused")
    return (
        f'<h2>Timeline</h2>\n<div class="timeline">\n{rows}</div>\n'
        f'<p class="axis"><span>0 s</span><span>{escape(format_seconds(end - start))}</span></p>\n'
    )


def _render_track(stage: ReportedStage, start: float, length: float) -> str:
    bars = "".join(_render_bars(stage.steps, start, length))
    return f'<div class="name">{escape(stage.name)}</div><div class="track">{bars}</div>\n'


def _render_bars(steps: Sequence[ReportedStep], start: float, length: float) -> Iterator[str]:
    for step in steps:
        kind = "restored" if step.cached else "rebuilt"
        for begin, end in step.intervals:
            width = (end - begin) / length
            if width >= _NARROWEST_PART:
                place = f"left:{100 * (begin - start) / length:.2f}%;width:{100 * width:.2f}%"
                title = escape(f"{step.name}: {format_seconds(end - begin)}")
                yield f'<span class="{kind}" style="{place}" title="{title}"></span>'


def _render_trend(reports: Sequence[BuildReport], budgets: Mapping[str, float]) -> str:
    longest = max((report.ship + report.save for report in reports), default=0.0) or 1.0
    rows = "".join(_render_build(report, longest) for report in reports)
    limits = ", ".join(f"{name} {minutes:g} min" for name, minutes in budgets.items())
    return (
        f'<h2>The last {len(reports)} builds</h2>\n<p>Budgets: {escape(limits)}</p>\n<div class="scroll"><table>\n'
        '<thead><tr><th>when</th><th class="number">seconds</th><th>image, then caches</th>'
        f'<th class="number">pulled</th><th class="number">pushed</th><th>rebuilt</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>\n"
    )


def _render_build(report: BuildReport, longest: float) -> str:
    total = report.ship + report.save
    ship = f'<span class="rebuilt" style="width:{100 * report.ship / longest:.2f}%" title="image"></span>'
    save = f'<span class="restored" style="width:{100 * report.save / longest:.2f}%" title="caches"></span>'
    return (
        f'<tr><td class="time">{escape(_format_time(report.finished))}</td><td class="number">{total:.1f}</td>'
        f'<td class="bar">{ship}{save}</td><td class="number">{_format_moved(report.pulled)}</td>'
        f'<td class="number">{_format_moved(report.pushed)}</td><td>{escape(", ".join(report.rebuilt))}</td></tr>\n'
    )


def _render_warnings(report: BuildReport) -> str:
    if not report.warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings)
    return f"<h2>Warnings</h2>\n<ul>{items}</ul>\n"
