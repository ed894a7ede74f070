"""Comparison of the caching strategies as rows, table and JSON."""

from __future__ import annotations

import json

from stagebake.forecast.comparison import compare_strategies, render_forecast_json, render_forecast_table
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
    assert "Left out: 3 commits, without the Dockerfile." in text


def test_render_forecast_json_has_rows_and_stages_of_each_push() -> None:
    text = render_forecast_json(create_forecast(60.0), BUDGETS)
    document = json.loads(text)
    assert document["ways"][-1]["total"] == 60
    assert document["pushes"][0]["ran"]["stagebake"] == ["base"]
