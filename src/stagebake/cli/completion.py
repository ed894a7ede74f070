"""Complete verbs, flags and stage names in a shell."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import StagebakeError
from stagebake.files import read_text
from stagebake.project.settings import load_settings

_SHELL_ASKS = "_ARGCOMPLETE"


def complete_arguments(parser: argparse.ArgumentParser) -> None:
    """Print completions and exit where a shell asks for them (kislyuk.github.io/argcomplete); else return."""
    if _SHELL_ASKS in os.environ:
        import argcomplete  # only a shell's completion needs it

        argcomplete.autocomplete(parser)


def offer_stages(action: argparse.Action) -> None:
    """Complete the values of a flag with the stages of the Dockerfile."""
    vars(action)["completer"] = _list_stages


def _list_stages(**_given: Any) -> tuple[str, ...]:
    """Return the names of the stages; none where settings or Dockerfile are not valid, because a shell asks."""
    try:
        settings = load_settings(Path(), os.environ, {})
        return parse_dockerfile(read_text(settings.root / settings.dockerfile)).names
    except (StagebakeError, OSError):
        return ()
