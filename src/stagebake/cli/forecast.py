"""What the last pushes would have cost with each way of caching."""

from __future__ import annotations

import argparse
from pathlib import Path

from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers, add_history
from stagebake.errors import InputError
from stagebake.explain.stage_times import require_stage_times
from stagebake.files import write_file
from stagebake.forecast.chart import draw_chart
from stagebake.forecast.past_pushes import forecast_past_pushes
from stagebake.forecast.strategies import Forecast, forecast_json, forecast_table
from stagebake.report.tables import make_console


def add_forecast_parser(verbs: VerbParsers) -> None:
    """Its flags."""
    verb = verbs.add_parser("forecast", help="what the last pushes would have cost with each way of caching")
    verb.set_defaults(run=run_forecast)
    add_history(verb, commits=200)
    verb.add_argument("--svg", type=Path, metavar="FILE.svg", help="draw a picture, too")


def run_forecast(options: argparse.Namespace) -> int:
    """Forecasts, and shows it."""
    command = read_command(options)
    settings, graph = command.settings, command.graph
    times = require_stage_times(graph, command.stage_times())
    past = forecast_past_pushes(settings, options.commits, times)
    if options.svg:
        _draw(options.svg, past)
    text = (forecast_json if options.json else forecast_table)(past, settings.budgets)
    make_console().print(text, end="")
    return 0


def _draw(path: Path, past: Forecast) -> None:
    try:
        write_file(path, draw_chart(past))
    except OSError as error:
        raise InputError(f"--svg: {path}: {error.strerror}", "name a file that can be written") from None
