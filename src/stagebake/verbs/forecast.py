"""What the last pushes would have cost with each way of caching."""

from __future__ import annotations

import argparse
from pathlib import Path

from stagebake import files, forecast, picture, report, survey
from stagebake.errors import InputError
from stagebake.forecast import Forecast
from stagebake.verbs import flags, job


def add(verbs: flags.Verbs) -> None:
    """Its flags."""
    verb = verbs.add_parser("forecast", help="what the last pushes would have cost with each way of caching")
    verb.set_defaults(run=run)
    flags.add_history(verb, commits=200)
    verb.add_argument("--svg", type=Path, metavar="FILE.svg", help="draw a picture, too")


def run(options: argparse.Namespace) -> int:
    """Forecasts, and shows it."""
    work = job.here(options)
    settings, graph = work.settings, work.graph
    times = survey.need_all(graph, work.times())
    past = survey.past(settings, options.commits, times)
    if options.svg:
        _draw(options.svg, past)
    text = (forecast.to_json if options.json else forecast.render)(past, settings.budgets)
    report.console().print(text, end="")
    return 0


def _draw(path: Path, past: Forecast) -> None:
    try:
        files.write(path, picture.draw(past))
    except OSError as error:
        raise InputError(f"--svg: {path}: {error.strerror}", "name a file that can be written") from None
