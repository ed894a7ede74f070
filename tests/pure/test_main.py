"""Verbs of the command line."""

from __future__ import annotations

import pytest

from stagebake.__main__ import main
from stagebake.sessions import VERBS


@pytest.mark.parametrize("verb", [*VERBS, "init"])
def test_main_with_help_prints_the_flags_of_each_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"usage: stagebake {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["bild"], ["plan", "--no-such-flag"]], ids=["none", "verb", "flag"])
def test_main_with_arguments_that_are_not_valid_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
