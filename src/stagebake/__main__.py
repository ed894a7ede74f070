# PYTHON_ARGCOMPLETE_OK
"""Run the verb on the command line. This is the only module that prints errors and chooses exit codes."""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType

from rich.console import Console
from rich.text import Text

from stagebake.ci.github_run import publish_summary, workflow_command
from stagebake.cli.completion import complete_arguments
from stagebake.cli.version import add_version_flags, print_versions
from stagebake.errors import InputError, StagebakeError
from stagebake.interrupts import Interrupted, raise_on_signals
from stagebake.report.github_summary import render_failure
from stagebake.report.tables import make_console

# Each verb and the module with its function `add_VERB_parser`; only the module of the verb that runs is loaded
_VERBS = {
    "build": "stagebake.cli.verbs.build",
    "plan": "stagebake.cli.verbs.plan",
    "generate": "stagebake.cli.verbs.generate",
    "cache": "stagebake.cli.caches.actions",
    "init": "stagebake.cli.verbs.init",
    "doctor": "stagebake.cli.verbs.doctor",
    "forecast": "stagebake.cli.verbs.forecast",
    "report": "stagebake.cli.verbs.report",
}
_BUG_EXIT_CODE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code.

    0 success, 1 failed build, 2 invalid input, 3 bug in stagebake, 4 engine or buildx missing or too old, 130 for ^C
    and 143 for SIGTERM.
    """
    _replace_unprintable()
    _collect_rarely()
    with raise_on_signals():
        return _run_verb(arguments, make_console(stderr=True))


def _replace_unprintable() -> None:
    """Print `?` for characters that the encoding of the output lacks, such as ASCII in a job without a locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _collect_rarely() -> None:
    """Collect garbage less often: with 50,000 files, Python's own thresholds take a fifth of the time of `plan`."""
    gc.set_threshold(100_000, 50, 100)


def _run_verb(arguments: Sequence[str] | None, errors: Console) -> int:
    try:
        options = _parse_arguments(arguments)
        return int(options.run(options) or 0)
    except StagebakeError as error:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            print(workflow_command("error", f"{error.problem}\n{error.hint}", os.environ))
            publish_summary(os.environ, render_failure(error), {})
        for line in error.log:
            errors.print(f"  {line}", style="dim")
        for warning in error.warnings:
            errors.print(Text.assemble(("warning", "bold yellow"), f": {warning}"))
        _print_error(errors, error.problem, error.hint)
        return error.exit_code
    except Interrupted as interrupt:
        for note in getattr(interrupt, "__notes__", ("interrupted",)):
            errors.print(note)
        return interrupt.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        _print_error(
            errors,
            f"{error.filename}: {error.strerror}",
            "check that the file exists and that you may read and write it",
        )
        return InputError.exit_code
    except Exception:  # the last handler: any other exception is a bug
        errors.print(traceback.format_exc())
        _print_error(errors, "bug in stagebake", "report it with the lines above")
        return _BUG_EXIT_CODE


def _print_error(errors: Console, problem: str, hint: str) -> None:
    errors.print(Text.assemble(("error", "bold red"), f": {problem}"))
    errors.print(Text.assemble(("  →", "bold"), f" {hint}"))


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a verb, or of `--version`; exit where they are not valid."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = _create_parser(words[:1] if words and words[0] in _VERBS else _VERBS)
    complete_arguments(parser)
    options = parser.parse_args(words)
    if options.verb is None:
        if not options.version:
            parser.error("the following arguments are required: VERB")
        options.run = print_versions
    return options


def load_verbs(names: Iterable[str] = tuple(_VERBS)) -> dict[str, ModuleType]:
    """Load the modules of these verbs."""
    return {name: import_module(_VERBS[name]) for name in names}


def _create_parser(names: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser of these verbs."""
    parser = argparse.ArgumentParser(prog="stagebake", description="Per-stage Docker build caches that work.")
    add_version_flags(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, module in load_verbs(names).items():
        getattr(module, f"add_{name}_parser")(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
