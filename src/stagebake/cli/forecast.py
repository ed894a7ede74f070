"""Forecast what the last pushes would have cost with each caching strategy."""

from __future__ import annotations

import argparse
from pathlib import Path

from stagebake.cli.command import read_command
from stagebake.cli.flags import VerbParsers, add_history
from stagebake.errors import InputError
from stagebake.explain.stage_times import require_stage_times
from stagebake.files import write_file
from stagebake.forecast.chart import draw_chart
from stagebake.forecast.comparison import render_forecast_json, render_forecast_table
from stagebake.forecast.past_pushes import forecast_past_pushes
from stagebake.forecast.strategies import Forecast
from stagebake.report.tables import make_console


def add_forecast_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("forecast", help="print what the last pushes would have cost with each caching strategy")
    verb.set_defaults(run=run_forecast)
    add_history(verb, commits=200)
    verb.add_argument("--svg", type=Path, metavar="FILE.svg", help="write a chart, too")


def run_forecast(options: argparse.Namespace) -> int:
    """Print the forecast as a table or JSON; return 0."""
    command = read_command(options)
    settings, graph = command.settings, command.graph
    times = require_stage_times(graph, command.stage_times())
    past = forecast_past_pushes(settings, options.commits, times)
    if options.svg:
        _write_chart(options.svg, past)
    render = render_forecast_json if options.json else render_forecast_table
    text = render(past, settings.budgets)
    make_console().print(text, end="")
    return 0


def _write_chart(path: Path, past: Forecast) -> None:
    try:
        write_file(path, draw_chart(past))
    except OSError as error:
        raise InputError(f"--svg: {path}: {error.strerror}", "give the path of a file that you may write") from None
