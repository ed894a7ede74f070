"""What can go wrong, as the user sees it."""

from __future__ import annotations

import pytest

from stagebake.errors import BuildFailed, EngineError, InputError, RegistryError, StagebakeError


@pytest.mark.parametrize(
    ("kind", "code"),
    [(StagebakeError, 1), (BuildFailed, 1), (RegistryError, 1), (InputError, 2), (EngineError, 4)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_exit_codes(kind: type[StagebakeError], code: int) -> None:
    """Each kind of failure has its exit code, and all of them are StagebakeErrors."""
    error = kind("what", "remedy", ("a line",))
    assert isinstance(error, StagebakeError)
    assert error.exit_code == code
    assert (str(error), error.what, error.remedy, error.log) == ("what", "what", "remedy", ("a line",))
