"""Write reports of builds as an HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from stagebake.cli.flags import VerbParsers, read_settings
from stagebake.errors import InputError
from stagebake.files import read_text, write_file
from stagebake.project.settings import Settings
from stagebake.report.html_page import render_page
from stagebake.report.report_file import BuildReport, InvalidReport, parse_report
from stagebake.report.tables import make_console

# A page with more is slow to read and to load
_MOST_BUILDS = 50


def add_report_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser(
        "report",
        help="show builds on an HTML page",
        description="Write the files of `build --report` as one HTML page: the newest build with its timeline, and the "
        f"trend of the last {_MOST_BUILDS}.",
    )
    verb.set_defaults(run=run_report)
    verb.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json", help="files of `build --report`")
    verb.add_argument("--html", type=Path, required=True, metavar="FILE", help="the page to write")
    verb.add_argument("--open", action="store_true", help="open the page in the browser")


def run_report(options: argparse.Namespace) -> int:
    """Write the page; return 0. Raise InputError for a file that is not a report."""
    reports = sorted((_read_report(path) for path in options.reports), key=_finish_time)
    write_page(options.html, reports, read_settings(options), open_browser=options.open)
    return 0


def write_page(path: Path, reports: Iterable[BuildReport], settings: Settings, *, open_browser: bool = False) -> None:
    """Write the page of builds in the order of time; open it in the browser on request."""
    write_file(path, render_page(list(reports)[-_MOST_BUILDS:], settings.budgets))
    make_console(stderr=True).print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    if open_browser:
        import webbrowser  # needed only here

        webbrowser.open(path.resolve().as_uri())


def _read_report(path: Path) -> BuildReport:
    try:
        return parse_report(read_text(path))
    except InvalidReport as error:
        raise InputError(f"{path}:1: {error}", "write one with `nox -s build -- --report FILE.json`") from None


def _finish_time(report: BuildReport) -> float:
    return report.finished or 0.0
