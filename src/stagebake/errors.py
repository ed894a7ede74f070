"""What can go wrong, as the user sees it: one line that says what and where, one that says what to do next."""

from __future__ import annotations


class StagebakeError(Exception):
    """A failure that is explained to the user; never shown as a traceback.

    `what` says what is wrong, with `file:line:` in front where there is one. `remedy` says what to do next.
    `log` is what the failing step had printed.
    """

    exit_code = 1

    def __init__(self, what: str, remedy: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.log = log


class BuildFailed(StagebakeError):
    """The engine ran the build and the build failed."""

    exit_code = 1


class Unexpected(StagebakeError):
    """Stages were restored or rebuilt otherwise than --expect says."""

    exit_code = 1


class InputError(StagebakeError):
    """The Dockerfile, the settings or the flags are wrong."""

    exit_code = 2


class EngineError(StagebakeError):
    """Docker Engine or buildx is missing, unreachable or too old."""

    exit_code = 4


class RegistryError(StagebakeError):
    """The registry refused, failed or could not be reached."""

    exit_code = 1


class Spoiled(RegistryError):
    """A blob holds other bytes than its digest says."""


class Unreached(RegistryError):
    """No answer came at all."""
