"""Parse a Dockerfile into instructions."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.parser import Instruction, onbuild_instructions, parse_instructions, syntax_image
from stagebake.errors import InputError


def parse_one(text: str) -> Instruction:
    """Return the only instruction of a text."""
    (found,) = parse_instructions(text, "Dockerfile")
    return found


def test_parse_instructions_keeps_lines_flags_and_heredocs() -> None:
    """Expect the first line of an instruction, and its flags and heredocs apart from its arguments."""
    text = "FROM a AS x\n\nRUN --network=none \\\n  --mount=type=cache,target=/c \\\n  echo 1\nCOPY <<EOF /f\nhi\nEOF\n"
    _, run, copy = parse_instructions(text, "Dockerfile")
    assert (run.keyword, run.line) == ("RUN", 3)
    assert run.flags == ("--network=none", "--mount=type=cache,target=/c")
    assert run.flag_value("network") == "none"
    assert run.flag_value("security") is None
    assert (copy.line, copy.heredocs) == (6, ("hi\n",))


def test_parse_instructions_invalid_text_raises_with_line() -> None:
    with pytest.raises(InputError, match="Dockerfile:2: "):
        parse_instructions("FROM a\nFETCH x\n", "Dockerfile")


def test_flag_value_bare_flag_is_empty() -> None:
    assert parse_one("COPY --link a /a\n").flag_value("link") == ""


@pytest.mark.parametrize(
    ("flag", "on"), [("--link ", True), ("--link=true ", True), ("--link=false ", False), ("", False)]
)
def test_has_switch_bare_or_true_flag_is_on(flag: str, on: bool) -> None:
    assert parse_one(f"COPY {flag}a /a\n").has_switch("link") == on


def test_flag_values_repeated_flag_gives_every_value() -> None:
    assert parse_one("COPY --exclude=a --exclude=b . /x\n").flag_values("exclude") == ("a", "b")


def test_mounts_have_their_fields_by_lower_case_key() -> None:
    run = parse_one("RUN --mount=type=bind,From=tools,target=/x,ro true\n")
    assert run.mounts == ({"type": "bind", "from": "tools", "target": "/x", "ro": ""},)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN make\n", "make"),
        ("RUN --network=none --mount=type=tmpfs,target=/x  make all\n", "make all"),
        ("RUN <<EOF\nmake\nEOF\n", "<<EOF\nmake\n"),
    ],
    ids=["plain", "flags", "heredoc"],
)
def test_command_of_a_run_leaves_out_keyword_and_flags(text: str, command: str) -> None:
    assert parse_one(text).command == command


def test_full_text_includes_heredocs() -> None:
    assert parse_one("RUN <<EOF\nmake\nEOF\n").full_text == "RUN <<EOF\nmake\n"


def test_assignments_of_an_env_are_names_and_values() -> None:
    assert parse_one("ENV A=1 B='x y'\n").assignments == (("A", "1"), ("B", "'x y'"))


def test_declarations_of_an_arg_have_defaults_or_none() -> None:
    assert parse_one("ARG A B= C=1\n").declarations == (("A", None), ("B", ""), ("C", "1"))


def test_onbuild_instructions_have_the_line_of_the_onbuild() -> None:
    _, onbuild = parse_instructions("FROM a\nONBUILD RUN make\n", "Dockerfile")
    (run,) = onbuild_instructions(onbuild, "Dockerfile")
    assert (run.keyword, run.command, run.line) == ("RUN", "make", 2)


@pytest.mark.parametrize(
    ("text", "keyword", "heredocs"),
    [
        ("ONBUILD RUN <<EOF\ntouch /a\nEOF\n", "RUN", ("touch /a\n",)),
        ("onbuild COPY <<A <<B /x/\n1\nA\n2\nB\n", "COPY", ("1\n", "2\n")),
        ("ONBUILD ADD <<-'EOF' /x\n\t$HOME\n\tEOF\n", "ADD", ("\t$HOME\n",)),
        ("ONBUILD RUN <<EOF cat\nEOF\n", "RUN", ("",)),
    ],
    ids=["run", "two", "tabs", "empty"],
)
def test_onbuild_instructions_keep_heredocs(text: str, keyword: str, heredocs: tuple[str, ...]) -> None:
    _, onbuild, _ = parse_instructions(f"FROM a\n{text}FROM b\n", "Dockerfile")
    (trigger,) = onbuild_instructions(onbuild, "Dockerfile")
    assert (trigger.keyword, trigger.heredocs, trigger.line) == (keyword, heredocs, 2)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN <<EOF\nONBUILD RUN <<X\nEOF\n",
        "FROM a\nRUN echo \\\nONBUILD RUN <<X\nX\n",
        "FROM a\n# ONBUILD RUN <<X\nRUN true\n",
    ],
    ids=["in-heredoc", "continued-line", "comment"],
)
def test_parse_instructions_text_like_an_onbuild_stays_as_it_is(text: str) -> None:
    _, run = parse_instructions(text, "Dockerfile")
    assert run.keyword == "RUN"
    assert "ONBUILD" in run.full_text or "# ONBUILD" in text


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a\n", "docker/dockerfile:1"),
        ("# escape=`\n# syntax = x\nFROM a\n", "x"),
        ("FROM a\n# syntax=x\n", None),
        ("\ufeff# syntax=x\nFROM a\n", "x"),
    ],
    ids=["first", "after-escape", "too-late", "byte-order-mark"],
)
def test_syntax_image_is_read_from_the_first_lines(text: str, image: str | None) -> None:
    assert syntax_image(text) == image


@pytest.mark.parametrize(
    ("text", "heredoc"),
    [
        ("COPY <<EOF /f\nhi\nEOF\n", "hi\n"),
        ("COPY <<EOF /f\r\nhi\r\nEOF\r\n", "hi\r\n"),
        ("\ufeffCOPY <<EOF /f\nhi\nEOF\n", "hi\n"),
        ("# Pr\udce9pare\nCOPY <<EOF /f\nh\udce9\nEOF\n", "h\udce9\n"),
    ],
    ids=["plain", "crlf", "byte-order-mark", "latin-1"],
)
def test_parse_instructions_keeps_a_heredoc_as_it_is_in_the_file(text: str, heredoc: str) -> None:
    found = parse_one(text)
    assert found.keyword == "COPY"
    assert found.heredocs == (heredoc,)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_syntax_image_is_found_with_any_line_end_and_encoding(end: str) -> None:
    assert syntax_image(f"\ufeff# syntax=docker/dockerfile:1{end}FROM a{end}") == "docker/dockerfile:1"
    assert syntax_image(f"# escape=\\{end}# syntax=x{end}# Pr\udce9{end}FROM a{end}") == "x"
