"""Compare the caching strategies over all pushes of a forecast, and render the comparison as a table or JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from stagebake.forecast.push_cost import RunnerModel
from stagebake.forecast.strategies import STRATEGIES, Forecast
from stagebake.formatting import format_seconds, format_size, json_document
from stagebake.transfer.step_traffic import sum_traffic


@dataclass(frozen=True, kw_only=True)
class ForecastRow:
    """Caching strategy over all pushes: times in seconds, and in `kept` the share of pushes within each budget.

    `pulled` and `pushed` are the bytes of all pushes.
    """

    way: str
    total: float
    median: float
    p90: float
    most: float
    kept: Mapping[str, float]
    pulled: int
    pushed: int


def compare_strategies(forecast: Forecast, budgets: Mapping[str, float]) -> tuple[ForecastRow, ...]:
    """Return a row for each strategy; `budgets` are in minutes."""
    rows: list[ForecastRow] = []
    for strategy in STRATEGIES:
        times = sorted(push.seconds[strategy.name] for push in forecast.pushes)
        traffic = sum_traffic(push.traffic[strategy.name] for push in forecast.pushes)
        row = ForecastRow(
            way=strategy.name,
            total=sum(times),
            median=_find_quantile(times, 0.5),
            p90=_find_quantile(times, 0.9),
            most=times[-1],
            kept=_kept_shares(times, budgets),
            pulled=traffic.pulled,
            pushed=traffic.pushed,
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
    if forecast.model.sizes.is_known:
        headings += ["pulled", "pushed"]
    alignments = "---:|" * (len(headings) - 1)
    rows = compare_strategies(forecast, budgets)
    lines = [
        _join_cells(headings),
        f"|---|{alignments}",
        *(_render_row(row, with_bytes=forecast.model.sizes.is_known) for row in rows),
        "",
        *_assumption_lines(forecast),
        "",
    ]
    return "\n".join(lines)


def _render_row(row: ForecastRow, *, with_bytes: bool) -> str:
    minutes = row.total / 60
    cells = [
        row.way,
        f"{minutes:.1f}",
        format_seconds(row.median),
        format_seconds(row.p90),
        format_seconds(row.most),
    ]
    cells += [f"{share:.0%}" for share in row.kept.values()]
    if with_bytes:
        cells += [format_size(row.pulled), format_size(row.pushed)]
    return _join_cells(cells)


def _join_cells(cells: list[str]) -> str:
    line = " | ".join(cells)
    return f"| {line} |"


def _assumption_lines(forecast: Forecast) -> list[str]:
    times: list[str] = []
    for name, seconds in forecast.model.seconds.items():
        time = format_seconds(seconds)
        times.append(f"{name} {time}")
    stages = ", ".join(times)
    lines = [f"Computed, not measured, with these times of the stages: {stages}.", _rate_words(forecast.model)]
    for reason, number in forecast.left_out.items():
        commits = _count_of(number, "commit", "commits")
        lines.append(f"Left out: {commits}, {reason}.")
    if forecast.cut:
        lines.append("This clone is shallow: `git fetch --unshallow` fetches the older commits.")
    return lines


def _rate_words(model: RunnerModel) -> str:
    """Say with which sizes and rates the time to pull and push was computed, or why it is missing."""
    if not model.sizes.is_known:
        return (
            "The time to pull and push is not counted: no saved cache tells the sizes of the layers; "
            "give them with --sizes STAGE=MB."
        )
    rates = model.rates
    size = format_size(sum(sum(sizes.values()) for sizes in model.sizes.by_text.values()))
    return (
        f"With {size} of layers, and these rates in MB/s: download {rates.download:g}, unpack {rates.unpack:g}, "
        f"pack {rates.pack:g}, upload {rates.upload:g}."
    )


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
                "bytes": {strategy: asdict(traffic) for strategy, traffic in push.traffic.items()},
            }
        )
    document = {
        "budgets": dict(budgets),
        "stages": dict(forecast.model.seconds),
        "sizes": {name: dict(sizes) for name, sizes in forecast.model.sizes.by_text.items()},
        "rates": asdict(forecast.model.rates),
        "left_out": dict(forecast.left_out),
        "ways": [asdict(row) for row in compare_strategies(forecast, budgets)],
        "pushes": pushes,
    }
    return json_document(document)
