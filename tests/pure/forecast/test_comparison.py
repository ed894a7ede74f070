"""Comparison of the caching strategies as rows, table and JSON."""

from __future__ import annotations

import json

from stagebake.forecast.comparison import compare_strategies, render_forecast_json, render_forecast_table
from stagebake.forecast.step_sizes import StepSizes
from stagebake.project.settings import BUDGETS
from tests.pure.forecast.states import create_forecast


def test_compare_strategies_returns_total_quantiles_and_kept_budgets() -> None:
    """Count a time that equals the budget as kept."""
    forecast = create_forecast(*range(10, 110, 10), 120.0)
    budgets = {"short": 1.0, "long": 2.0}
    row = compare_strategies(forecast, budgets)[-1]
    assert row.way == "stagebake"
    assert row.total == 670
    assert row.median == 60
    assert row.p90 == 100
    assert row.most == 120
    assert row.kept == {"short": 6 / 11, "long": 1.0}


def test_render_forecast_table_names_times_and_left_out_commits() -> None:
    forecast = create_forecast(60.0, left_out={"without the Dockerfile": 3})
    text = render_forecast_table(forecast, BUDGETS)
    assert "| 1 push |" in text
    assert "| stagebake | 1.0 | 1 min 0 s | 1 min 0 s | 1 min 0 s | 100% | 100% | 100% | 100% |" in text
    assert "Computed, not measured, with these times of the stages: base 1 min 40 s." in text
    assert "The time to pull and push is not counted" in text
    assert "Left out: 3 commits, without the Dockerfile." in text


def test_render_forecast_table_with_known_sizes_has_bytes_and_names_the_rates() -> None:
    sizes = StepSizes(by_text={"base": {"RUN x": 2_000_000}})
    text = render_forecast_table(create_forecast(60.0, 60.0, sizes=sizes), {})
    assert "| longest | pulled | pushed |" in text
    assert "| stagebake | 2.0 | 1 min 0 s | 1 min 0 s | 1 min 0 s | 6.0 GB | 14.0 kB |" in text
    assert "With 2.0 MB of layers, and these rates in MB/s: download 100, unpack 60, pack 60, upload 60." in text


def test_render_forecast_json_has_rows_and_stages_of_each_push() -> None:
    text = render_forecast_json(create_forecast(60.0), BUDGETS)
    document = json.loads(text)
    assert document["ways"][-1]["total"] == 60
    assert document["pushes"][0]["ran"]["stagebake"] == ["base"]
    assert document["pushes"][0]["bytes"]["stagebake"] == {"pulled": 3_000_000_000, "pushed": 7_000}
    assert (document["ways"][-1]["pulled"], document["ways"][-1]["pushed"]) == (3_000_000_000, 7_000)
    assert (document["sizes"], document["rates"]["download"]) == ({}, 100.0)
