"""Verbs to functions; the one place that knows exit codes and how an error looks."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from stagebake.cli.build import add_build_parser
from stagebake.cli.cache import add_cache_parser
from stagebake.cli.doctor import add_doctor_parser
from stagebake.cli.forecast import add_forecast_parser
from stagebake.cli.generate import add_generate_parser
from stagebake.cli.init import add_init_parser
from stagebake.cli.plan import add_plan_parser
from stagebake.errors import InputError, StagebakeError
from stagebake.interrupts import Interrupted, raise_on_signals
from stagebake.project.github_run import publish_summary, workflow_command
from stagebake.report.github_summary import render_failure
from stagebake.report.tables import make_console

_VERBS = (
    add_build_parser,
    add_plan_parser,
    add_generate_parser,
    add_cache_parser,
    add_init_parser,
    add_doctor_parser,
    add_forecast_parser,
)
_OUR_BUG = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns the exit code: 0 good, 1 the build failed, 2 your input, 3 our bug, 4 no engine, 130 ^C, 143 SIGTERM.
    """
    with raise_on_signals():
        return _main(arguments, make_console(stderr=True))


def _main(arguments: Sequence[str] | None, errors: Console) -> int:
    try:
        options = _parser().parse_args(arguments)
        return int(options.run(options) or 0)
    except StagebakeError as error:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            print(workflow_command("error", f"{error.what}\n{error.remedy}", os.environ))
            publish_summary(os.environ, render_failure(error), {})
        for line in error.log:
            errors.print(f"  {line}", style="dim")
        _say(errors, error.what, error.remedy)
        return error.exit_code
    except Interrupted as interrupt:
        for note in getattr(interrupt, "__notes__", ("interrupted",)):
            errors.print(note)
        return interrupt.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        _say(errors, f"{error.filename}: {error.strerror}", "see that it can be read and written")
        return InputError.exit_code
    except Exception:  # the last handler: whatever comes here is a bug of ours
        errors.print(traceback.format_exc())
        _say(errors, "this is a bug in stagebake", "please report it with the lines above")
        return _OUR_BUG


def _say(errors: Console, what: str, remedy: str) -> None:
    errors.print(Text.assemble(("error", "bold red"), f": {what}"))
    errors.print(Text.assemble(("  →", "bold"), f" {remedy}"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stagebake", description="Per-stage Docker build caches that work.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for add_parser in _VERBS:
        add_parser(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
