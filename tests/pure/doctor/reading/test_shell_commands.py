"""Split the commands of a RUN, and write it without some of them."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.parser import parse_instructions
from stagebake.doctor.reading.shell_commands import (
    is_plain_list,
    read_commands,
    rewrite_commands,
    split_commands,
    splits_safely,
    squeeze_spaces,
    write_run,
)


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ("a && b; c", ["a", "b", "c"]),
        ("echo 'a && b' && c", ["echo 'a && b'", "c"]),
        ('echo "$(a; b)" | c', ['echo "$(a; b)"', "c"]),
        ("x=$(a && b) y", ["x=$(a && b) y"]),
        ("a 2>&1 && b &>/dev/null", ["a 2>&1", "b &>/dev/null"]),
        ("# a && b\nc", ["c"]),
        ("a \\; b", ["a \\; b"]),
        ("a || b\n\nc", ["a", "b", "c"]),
    ],
)
def test_split_commands_separates_at_operators_outside_of_quotes(script: str, commands: list[str]) -> None:
    assert [command.text for command in split_commands(script)] == commands


def test_split_commands_program_has_no_folder_assignment_or_prefix() -> None:
    (command,) = split_commands("A=1 sudo /usr/bin/npm ci --omit=dev x")
    assert (command.program, command.operands) == ("npm", ("ci", "x"))


@pytest.mark.parametrize(
    ("script", "plain"),
    [("a && b; c", True), ("a || b", False), ("a | b", False), ("if a; then b; fi", False), ("( a && b )", False)],
)
def test_is_plain_list_knows_compound_commands(script: str, plain: bool) -> None:
    assert is_plain_list(script) == plain


@pytest.mark.parametrize(
    ("script", "text", "expected"),
    [
        ("a && b && c", "", "a && c"),
        ("b && c", "", "c"),
        ("a; b;", "", "a"),
        ("a\nb\nc\n", "", "a\nc\n"),
        ("a && b && c", "d", "a && d && c"),
    ],
)
def test_rewrite_commands_takes_the_operator_out_with_the_command(script: str, text: str, expected: str) -> None:
    command = next(each for each in split_commands(script) if each.text == "b")
    assert rewrite_commands(script, {command.start: text}) == expected


@pytest.mark.parametrize(
    ("script", "safe"), [("a && b", True), ("a || b", False), ("if a; then b; fi", False), ("b; fi", False)]
)
def test_splits_safely_refuses_parts_of_compound_commands(script: str, safe: bool) -> None:
    commands = split_commands(script)
    number = next(at for at, command in enumerate(commands) if command.text.endswith("b"))
    assert splits_safely(commands, number) == safe


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("RUN a", ("RUN x",)),
        ("RUN --network=none a", ("RUN --network=none x",)),
        ("RUN <<EOF\na\nEOF", ("RUN <<EOF", "x", "EOF")),
    ],
)
def test_write_run_keeps_flags_and_heredocs(text: str, lines: tuple[str, ...]) -> None:
    (instruction,) = parse_instructions(text, "Dockerfile")
    assert write_run(instruction, "x") == lines


def test_read_commands_json_form_is_one_command() -> None:
    (instruction,) = parse_instructions('RUN ["npm", "ci"]', "Dockerfile")
    (command,) = read_commands(instruction)
    assert command.words == ("npm", "ci")


def test_squeeze_spaces_keeps_quoted_text() -> None:
    assert squeeze_spaces("a   'b   c'\t d") == "a 'b   c' d"
