"""Define the errors that a user sees: one line for the problem and its place, one line for what to do next."""

from __future__ import annotations


class StagebakeError(Exception):
    """Failure that the user sees as a message, never as a traceback.

    `problem` begins with `file:line:` where there is one. `hint` says what to do next. `log` is the output of the step
    that failed. `warnings` are about the inputs of the build, and may name the cause.
    """

    exit_code = 1
    warnings: tuple[str, ...] = ()

    def __init__(self, problem: str, hint: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.log = log


class BuildFailed(StagebakeError):
    """Build that the engine ran and that failed."""

    exit_code = 1


class ExpectationFailed(StagebakeError):
    """Stage that was restored or rebuilt against --expect."""

    exit_code = 1


class InputError(StagebakeError):
    """Dockerfile, settings or flags that are not valid."""

    exit_code = 2


class EngineError(StagebakeError):
    """Docker Engine or buildx that is missing, not reachable or too old."""

    exit_code = 4


class RegistryError(StagebakeError):
    """Registry that refused a request, failed or did not answer."""

    exit_code = 1


class CorruptBlob(RegistryError):
    """Blob whose bytes do not match its digest."""


class RegistryUnreachable(RegistryError):
    """Request that got no response at all."""
