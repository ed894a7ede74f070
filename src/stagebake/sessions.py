"""The verbs as Nox sessions, for any noxfile: `from stagebake.sessions import *`.

Each hands its posargs on: `nox -s build -- --no-cache python-deps`.
"""

from __future__ import annotations

import sys
from typing import Any

import nox

VERBS = {
    "build": "Build the image: restore what did not change, rebuild what did.",
    "cache": "Look after the caches in the registry: `-- purge --scope pr-7` deletes a pull request's.",
    "generate": "Write docker-bake.hcl from the Dockerfile; `-- --check` fails when it is stale.",
    "doctor": "What in the Dockerfile defeats the caches, and the lines to use instead.",
    "forecast": "What the last pushes would have cost with each way of caching, without building.",
}

__all__ = list(VERBS)

# buildx cancels its build when it is interrupted; Nox's 0.3 s and 0.2 s would kill it while it does
_GRACE = 30.0


def stagebake(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Runs `stagebake ARGUMENTS` with what the session's own environment and `environment` say."""
    session.run(
        sys.executable,
        "-m",
        "stagebake",
        *arguments,
        env=environment,
        external=True,
        interrupt_timeout=_GRACE,
        terminate_timeout=_GRACE,
    )


def __getattr__(verb: str) -> Any:
    """Makes a session when its name is imported: a noxfile with a `build` of its own imports the others by name."""
    if verb not in VERBS:
        raise AttributeError(verb)

    def run(session: nox.Session) -> None:
        stagebake(session, verb, *session.posargs)

    run.__doc__ = VERBS[verb]
    globals()[verb] = nox.session(name=verb, python=False)(run)
    return globals()[verb]
