"""Provide the verbs as Nox sessions for any noxfile: `from stagebake.sessions import *`.

Each session passes its arguments on: `nox -s build -- --no-cache python-deps`. Plain `nox` runs none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagebake.interrupts import Interrupted, raise_on_signals

if TYPE_CHECKING:
    import nox

VERBS = {
    "build": "Build the image: restore what did not change, rebuild what did.",
    "plan": "Print what the next build would restore and rebuild, and why, without building.",
    "cache": "List, check and delete the caches in the registry: `-- ls`, `-- purge --scope pr-7`.",
    "generate": "Write docker-bake.hcl from the Dockerfile; `-- --check` fails when it is out of date.",
    "doctor": "Print which lines of the Dockerfile defeat the caches, and the lines to write instead.",
    "report": "Write reports of builds as an HTML page: `-- report.json --html build.html`.",
    "forecast": "Print what the last pushes would have cost with each caching strategy, without building.",
}

__all__ = list(VERBS)

# Seconds until nox passes an interrupt on. ^C in a terminal reaches stagebake directly, a signal to nox does not
_INTERRUPT_TIMEOUT = 1.0
# Seconds for stagebake to cancel its build; nox's default of 0.2 s would kill stagebake before
_TERMINATE_TIMEOUT = 30.0


def stagebake(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Run `stagebake ARGUMENTS` in the session's environment with the variables of `environment`.

    Python finds no module in the working folder: a file of the repository may have the name of one of Python's.
    nox does not handle SIGTERM and would leave the build running, so this handles it like ^C.
    """
    try:
        with raise_on_signals():
            session.run(
                sys.executable,
                "-P",
                "-m",
                "stagebake",
                *arguments,
                env={"PYTHONPATH": _trim_python_path(os.environ), **environment},
                external=True,
                interrupt_timeout=_INTERRUPT_TIMEOUT,
                terminate_timeout=_TERMINATE_TIMEOUT,
            )
    except Interrupted as interrupt:
        if interrupt.exit_code == 130:
            raise
        sys.exit(interrupt.exit_code)  # nox exits with 130 for any KeyboardInterrupt


def _trim_python_path(environment: Mapping[str, str]) -> str:
    """Return PYTHONPATH without the folders of the repository, except the one that stagebake itself is in."""
    repository = Path.cwd().resolve()
    own_folder = Path(__file__).resolve().parents[1]
    kept: list[str] = []
    for entry in environment.get("PYTHONPATH", "").split(os.pathsep):
        folder = Path(entry).resolve()
        if folder == own_folder or not folder.is_relative_to(repository):
            kept.append(entry)
    return os.pathsep.join(kept)


def __getattr__(verb: str) -> Any:
    """Create a session when its name is imported, so that a noxfile with its own `build` can import the others."""
    if verb not in VERBS:
        raise AttributeError(verb)
    import nox  # slow to load; `init` needs nothing here but the names

    def run_verb(session: nox.Session) -> None:
        stagebake(session, verb, *session.posargs)

    run_verb.__doc__ = VERBS[verb]
    globals()[verb] = nox.session(name=verb, python=False, default=False)(run_verb)
    return globals()[verb]
