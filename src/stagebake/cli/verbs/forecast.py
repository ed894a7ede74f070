"""Forecast what the last pushes would have cost with each caching strategy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_history
from stagebake.errors import InputError
from stagebake.explain.stage_times import require_stage_times
from stagebake.files import write_file
from stagebake.forecast.chart import draw_chart
from stagebake.forecast.comparison import render_forecast_json, render_forecast_table
from stagebake.forecast.past_pushes import forecast_past_pushes
from stagebake.forecast.push_cost import RunnerModel
from stagebake.forecast.step_sizes import StepSizes, cached_sizes, given_sizes
from stagebake.forecast.strategies import Forecast
from stagebake.report.tables import make_console
from stagebake.transfer.rates import HOSTED_RUNNER, Rates

# A number above 0
_RATE = re.compile(r"(?=.*[1-9])[0-9]{1,6}(?:\.[0-9]{1,6})?")


def add_forecast_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("forecast", help="print what the last pushes would have cost with each caching strategy")
    verb.set_defaults(run=run_forecast)
    add_history(verb, commits=200)
    verb.add_argument(
        "--sizes",
        action="append",
        default=[],
        metavar="STAGE=MB,…",
        help="compressed size of a stage's layers, or of one step with STAGE:LINE=MB (default: from the saved caches)",
    )
    verb.add_argument(
        "--rates",
        action="append",
        default=[],
        metavar="NAME=MB,…",
        help=f"MB/s of the runner and its link (default: {_rate_words(HOSTED_RUNNER)})",
    )
    verb.add_argument("--svg", type=Path, metavar="FILE.svg", help="write a chart, too")


def run_forecast(options: argparse.Namespace) -> int:
    """Print the forecast as a table or JSON; return 0."""
    command = read_command(options)
    settings, graph = command.settings, command.graph
    rates = parse_rates(options.rates)
    sizes = given_sizes(options.sizes, graph) if options.sizes else _cached_sizes(command)
    times = require_stage_times(graph, command.stage_times())
    model = RunnerModel(seconds=times, sizes=sizes, rates=rates)
    past = forecast_past_pushes(settings, options.commits, model)
    if options.svg:
        _write_chart(options.svg, past)
    render = render_forecast_json if options.json else render_forecast_table
    text = render(past, settings.budgets)
    make_console().print(text, end="")
    return 0


def parse_rates(words: Iterable[str]) -> Rates:
    """Return the rates that `NAME=MB` words give, in MB/s, and the defaults for the others. Raises InputError."""
    rates = asdict(HOSTED_RUNNER)
    for text in words:
        for word in text.split(","):
            name, _, number = word.partition("=")
            if name not in rates or not _RATE.fullmatch(number):
                raise InputError(
                    f"--rates: `{word}` is not NAME=MB with a name of {', '.join(rates)}",
                    f"write {_rate_words(HOSTED_RUNNER)}",
                )
            rates[name] = float(number)
    return Rates(**rates)


def _rate_words(rates: Rates) -> str:
    return ",".join(f"{name}={rate:g}" for name, rate in asdict(rates).items())


def _cached_sizes(command: Command) -> StepSizes:
    """Return the sizes of the layers in the stage caches; none where they cannot be read."""
    return cached_sizes(command.cached_step_layers())


def _write_chart(path: Path, past: Forecast) -> None:
    try:
        write_file(path, draw_chart(past))
    except OSError as error:
        raise InputError(f"--svg: {path}: {error.strerror}", "give the path of a file that you may write") from None
