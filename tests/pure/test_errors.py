"""Check the exit codes and the parts of an error."""

from __future__ import annotations

import pytest

from stagebake.errors import BuildFailed, EngineError, InputError, RegistryError, StagebakeError


@pytest.mark.parametrize(
    ("kind", "code"),
    [(StagebakeError, 1), (BuildFailed, 1), (RegistryError, 1), (InputError, 2), (EngineError, 4)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_stagebake_error_each_kind_has_its_exit_code(kind: type[StagebakeError], code: int) -> None:
    error = kind("what", "hint", ("a line",))
    assert isinstance(error, StagebakeError)
    assert error.exit_code == code
    assert (str(error), error.problem, error.hint, error.log) == ("what", "what", "hint", ("a line",))
