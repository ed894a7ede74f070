"""Flags that several verbs share."""

from __future__ import annotations

import argparse

import pytest

from stagebake.cli.flags import add_build_choices, add_history


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], None), (["--no-cache"], []), (["--no-cache", "base", "app"], ["base", "app"])],
    ids=["absent", "bare", "names"],
)
def test_add_build_choices_distinguishes_a_bare_no_cache_from_none(
    parser: argparse.ArgumentParser, arguments: list[str], expected: list[str] | None
) -> None:
    add_build_choices(parser)
    assert parser.parse_args(arguments).no_cache == expected


def test_add_history_without_flags_uses_the_default_number_of_commits(parser: argparse.ArgumentParser) -> None:
    add_history(parser, commits=200)
    assert parser.parse_args([]).commits == 200
    assert parser.parse_args(["--commits", "7"]).commits == 7


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", ""])
def test_add_history_with_a_number_of_commits_that_is_not_valid_exits_with_2(
    parser: argparse.ArgumentParser, count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add_history(parser, commits=200)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([f"--commits={count}"])
    assert caught.value.code == 2
    assert f"`{count}` is not a positive whole number" in capsys.readouterr().err
