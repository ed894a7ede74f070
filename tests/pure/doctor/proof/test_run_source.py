"""Split the text of a RUN into commands, and join some of them again."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.parser import parse_instructions
from stagebake.doctor.proof.run_source import RunSource, split_run, split_words


def split(text: str) -> RunSource | None:
    (instruction,) = parse_instructions(f"{text}\n", "Dockerfile")
    return split_run(instruction, tuple(text.split("\n")))


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("RUN a", ["a"]),
        ("RUN a b && c  &&d", ["a b", "c", "d"]),
        ("run --network=none --mount=type=cache,target=/x a && b", ["a", "b"]),
        ("RUN a \\\n && b \\\n    c", ["a", "b \\\n    c"]),
        ("RUN a && \\\n  # why\n  b", ["a", "b"]),
        ("RUN a \\\n  # why\n  && b", ["a", "b"]),
        ("RUN \\\n  a", ["a"]),
        ("RUN echo 'x && y' \"; z\" && b", ["echo 'x && y' \"; z\"", "b"]),
        ("RUN find . -exec rm {} \\; && a | b", ["find . -exec rm {} \\;", "a | b"]),
        ("RUN a > x 2>&1 && b", ["a > x 2>&1", "b"]),
    ],
)
def test_split_run_gives_the_commands_and_keeps_the_text(text: str, commands: list[str]) -> None:
    source = split(text)
    assert source is not None
    assert list(source.commands) == commands
    assert "\n".join(source.keep_commands(range(len(commands)))) == text


@pytest.mark.parametrize(
    "text",
    [
        "RUN a; b",
        "RUN a || b",
        "RUN a & b",
        "RUN (a && b)",
        "RUN a && $(b)",
        "RUN if a; then b; fi",
        "RUN { a && b; }",
        "RUN a `b`",
        'RUN ["a", "&&", "b"]',
        "RUN <<EOF\na && b\nEOF",
        "RUN echo 'it && b",
        "RUN a && ",
    ],
)
def test_split_run_other_operators_are_not_split(text: str) -> None:
    assert split(text) is None


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        ({0}, "RUN a \\\n    --long"),
        ({1}, "RUN b"),
        ({0, 2}, "RUN a \\\n    --long \\\n # why\n && c"),
        ({1, 2}, "RUN b \\\n # why\n && c"),
    ],
)
def test_keep_commands_drops_the_others(kept: set[int], text: str) -> None:
    source = split("RUN a \\\n    --long \\\n && b \\\n # why\n && c")
    assert source is not None
    assert "\n".join(source.keep_commands(kept)) == text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("chown -R $A:${B} '/x y'", ("chown", "-R", "one:two", "/x y")),
        ("mkdir \\\n  # why\n  -p  a", ("mkdir", "-p", "a")),
        ("mkdir $UNKNOWN", None),
        ("echo '$A'", None),
        ("a > b", None),
        ("a | b", None),
        ("cd ~", None),
        ("a 'b", None),
    ],
)
def test_split_words_expands_known_variables(command: str, words: tuple[str, ...] | None) -> None:
    assert split_words(command, {"A": "one", "B": "two"}) == words
