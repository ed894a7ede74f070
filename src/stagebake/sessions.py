"""The verbs as Nox sessions, for any noxfile: `from stagebake.sessions import *`.

Each hands its posargs on: `nox -s build -- --no-cache python-deps`. A bare `nox` runs none of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stagebake.interrupts import Interrupted, raise_on_signals

if TYPE_CHECKING:
    import nox

VERBS = {
    "build": "Build the image: restore what did not change, rebuild what did.",
    "plan": "Say what the next build would restore and rebuild, and why, without building.",
    "cache": "Look after the caches in the registry: `-- purge --scope pr-7` deletes a pull request's.",
    "generate": "Write docker-bake.hcl from the Dockerfile; `-- --check` fails when it is stale.",
    "doctor": "What in the Dockerfile defeats the caches, and the lines to use instead.",
    "forecast": "What the last pushes would have cost with each way of caching, without building.",
}

__all__ = list(VERBS)

# ^C in a terminal reaches stagebake too; a signal to nox alone does not, and is handed on after this time
_HEARD = 1.0
# stagebake cancels its build when it is interrupted; nox's 0.2 s would kill it while it does
_GRACE = 30.0


def stagebake(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Runs `stagebake ARGUMENTS` with what the session's own environment and `environment` say.

    nox does not know SIGTERM, and would leave the build behind: it is handled like ^C here.
    """
    try:
        with raise_on_signals():
            session.run(
                sys.executable,
                "-m",
                "stagebake",
                *arguments,
                env=environment,
                external=True,
                interrupt_timeout=_HEARD,
                terminate_timeout=_GRACE,
            )
    except Interrupted as interrupt:
        if interrupt.exit_code == 130:
            raise
        sys.exit(interrupt.exit_code)  # nox takes every KeyboardInterrupt for ^C


def __getattr__(verb: str) -> Any:
    """Makes a session when its name is imported: a noxfile with a `build` of its own imports the others by name."""
    if verb not in VERBS:
        raise AttributeError(verb)
    import nox  # slow to load; `init` needs nothing here but the names

    def run(session: nox.Session) -> None:
        stagebake(session, verb, *session.posargs)

    run.__doc__ = VERBS[verb]
    globals()[verb] = nox.session(name=verb, python=False, default=False)(run)
    return globals()[verb]
