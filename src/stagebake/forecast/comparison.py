"""Compare the caching strategies over all pushes of a forecast, and render the comparison as a table or JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from stagebake.forecast.strategies import STRATEGIES, Forecast
from stagebake.formatting import format_seconds, json_document


@dataclass(frozen=True, kw_only=True)
class ForecastRow:
    """Caching strategy over all pushes: times in seconds, and in `kept` the share of pushes within each budget."""

    way: str
    total: float
    median: float
    p90: float
    most: float
    kept: Mapping[str, float]


def compare_strategies(forecast: Forecast, budgets: Mapping[str, float]) -> tuple[ForecastRow, ...]:
    """Return a row for each strategy; `budgets` are in minutes."""
    rows: list[ForecastRow] = []
    for strategy in STRATEGIES:
        times = sorted(push.seconds[strategy.name] for push in forecast.pushes)
        row = ForecastRow(
            way=strategy.name,
            total=sum(times),
            median=_find_quantile(times, 0.5),
            p90=_find_quantile(times, 0.9),
            most=times[-1],
            kept=_kept_shares(times, budgets),
        )
        rows.append(row)
    return tuple(rows)


def _find_quantile(times: list[float], share: float) -> float:
    """Return the smallest of the sorted times that this share of them does not exceed."""
    rank = math.ceil(share * len(times))
    return times[max(rank - 1, 0)]


def _kept_shares(times: list[float], budgets: Mapping[str, float]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for name, minutes in budgets.items():
        limit = minutes * 60
        kept = [seconds for seconds in times if seconds <= limit]
        shares[name] = len(kept) / len(times)
    return shares


def render_forecast_table(forecast: Forecast, budgets: Mapping[str, float]) -> str:
    """Return a Markdown table that is readable as text, with the assumptions below it."""
    headings = [
        _count_of(len(forecast.pushes), "push", "pushes"),
        "minutes in all",
        "median",
        "p90",
        "longest",
    ]
    headings += [f"{name} ≤ {minutes:g} min" for name, minutes in budgets.items()]
    alignments = "---:|" * (len(headings) - 1)
    rows = compare_strategies(forecast, budgets)
    lines = [
        _join_cells(headings),
        f"|---|{alignments}",
        *(_render_row(row) for row in rows),
        "",
        *_assumption_lines(forecast),
        "",
    ]
    return "\n".join(lines)


def _render_row(row: ForecastRow) -> str:
    minutes = row.total / 60
    cells = [
        row.way,
        f"{minutes:.1f}",
        format_seconds(row.median),
        format_seconds(row.p90),
        format_seconds(row.most),
    ]
    cells += [f"{share:.0%}" for share in row.kept.values()]
    return _join_cells(cells)


def _join_cells(cells: list[str]) -> str:
    line = " | ".join(cells)
    return f"| {line} |"


def _assumption_lines(forecast: Forecast) -> list[str]:
    times: list[str] = []
    for name, seconds in forecast.seconds.items():
        time = format_seconds(seconds)
        times.append(f"{name} {time}")
    stages = ", ".join(times)
    lines = [f"Computed, not measured, with these times of the stages: {stages}."]
    for reason, number in forecast.left_out.items():
        commits = _count_of(number, "commit", "commits")
        lines.append(f"Left out: {commits}, {reason}.")
    if forecast.cut:
        lines.append("This clone is shallow: `git fetch --unshallow` fetches the older commits.")
    return lines


def _count_of(number: int, singular: str, plural: str) -> str:
    noun = singular if number == 1 else plural
    return f"{number} {noun}"


def render_forecast_json(forecast: Forecast, budgets: Mapping[str, float]) -> str:
    """Return the rows, and what runs for each push, as JSON; times in seconds, budgets in minutes."""
    pushes: list[object] = []
    for push in forecast.pushes:
        ran = {strategy: sorted(stages) for strategy, stages in push.ran.items()}
        pushes.append(
            {
                "commit": push.commit,
                "ran": ran,
                "seconds": dict(push.seconds),
            }
        )
    document = {
        "budgets": dict(budgets),
        "stages": dict(forecast.seconds),
        "left_out": dict(forecast.left_out),
        "ways": [asdict(row) for row in compare_strategies(forecast, budgets)],
        "pushes": pushes,
    }
    return json_document(document)
