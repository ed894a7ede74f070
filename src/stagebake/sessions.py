"""The verbs as Nox sessions, for any noxfile: `from stagebake.sessions import *`.

Each hands its posargs on: `nox -s build -- --no-cache python-deps`.
"""

from __future__ import annotations

import sys

import nox

__all__ = ["build", "generate"]

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


@nox.session(python=False)
def build(session: nox.Session) -> None:
    """Build the image: restore what did not change, rebuild what did."""
    stagebake(session, "build", *session.posargs)


@nox.session(python=False)
def generate(session: nox.Session) -> None:
    """Write docker-bake.hcl from the Dockerfile; `-- --check` fails when it is stale."""
    stagebake(session, "generate", *session.posargs)
