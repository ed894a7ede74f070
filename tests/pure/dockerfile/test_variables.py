"""Read ARG and ENV, and hide secrets."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.parser import parse_instructions
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.dockerfile.variables import (
    declared_args,
    hide_secret,
    is_hidden,
    looks_secret,
    predefined_args,
    redact_credentials,
)


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",), ("linux/arm64", "linux/amd64")], ids=str)
def test_predefined_args_any_platform_gives_build_and_target_system(platforms: tuple[str, ...]) -> None:
    graph = parse_dockerfile("FROM ${TARGETOS}-${BUILDOS} AS a\n", platforms=platforms)
    assert graph.stages[0].images[0].name == "linux-linux"


@pytest.mark.parametrize(
    ("text", "args", "image"),
    [
        ("ARG V\nFROM a:${V:-1}", {}, "a:1"),
        ("ARG V\nFROM a:${V:-1}", {"V": "2"}, "a:2"),
        ("ARG V=\nFROM a:${V:-1}", {}, "a:1"),
        ("ARG V=1\nFROM a${V}", {"V": ""}, "a"),
        ("ARG V=1\nARG W=$V.1\nFROM a:$W", {"V": "2"}, "a:2.1"),
        ("FROM a:${V:-1}", {"V": "2"}, "a:1"),
        ("ARG V='1'\nFROM \"a:$V\"", {}, "a:1"),
        ("ARG V=1\nFROM a AS x\nARG V=2\nFROM a:$V", {}, "a:1"),
    ],
    ids=[
        "default-used",
        "given",
        "empty-default",
        "given-empty",
        "chained",
        "undeclared",
        "quoted",
        "stage-arg-unseen",
    ],
)
def test_global_args_given_or_default_value_is_used_in_from(text: str, args: dict[str, str], image: str) -> None:
    """Use a given value only where an ARG before the first FROM declares it."""
    assert parse_dockerfile(text, args=args).stages[-1].images[0].name == image


def test_predefined_args_platform_with_variant_is_split() -> None:
    variables = predefined_args(("linux/arm/v7", "linux/amd64"), "App")
    assert variables["TARGETPLATFORM"] == "linux/arm/v7"
    assert (variables["TARGETARCH"], variables["TARGETVARIANT"]) == ("arm", "v7")
    assert variables["TARGETSTAGE"] == "app"


def test_declared_args_prefer_given_then_default_then_outer() -> None:
    (arg,) = parse_instructions("ARG GIVEN=1 DEFAULT=$X OUTER UNKNOWN\n", "Dockerfile")
    found = declared_args(arg, {"X": "2"}, {"OUTER": "3", "DEFAULT": "4"}, {"GIVEN": "5"}, "Dockerfile")
    assert list(found) == [("GIVEN", "5"), ("DEFAULT", "2"), ("OUTER", "3"), ("UNKNOWN", None)]


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [("NPM_TOKEN", True), ("api_key", True), ("PUBLIC_KEY", False), ("KEYBOARD", False), ("MODE", False)],
)
def test_looks_secret_judges_by_words_of_the_name(name: str, is_secret: bool) -> None:
    assert looks_secret(name) == is_secret


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("NPM_TOKEN", "abc", True),
        ("GITHUB_PAT", "abc", True),
        ("INDEX_URL", "https://user:word@example.org/simple", True),
        ("NPM_TOKEN", "", False),
        ("MODE", "fast", False),
    ],
)
def test_hide_secret_secret_value_becomes_a_digest(name: str, value: str, hidden: bool) -> None:
    found = hide_secret(name, value)
    assert is_hidden(found) == hidden
    assert (found == value) != hidden


def test_redact_credentials_removes_user_and_password_of_an_address() -> None:
    assert redact_credentials("RUN curl https://me:word@example.org/x") == "RUN curl https://…@example.org/x"


def test_hide_secret_of_a_value_that_is_not_utf_8_is_a_digest() -> None:
    assert is_hidden(hide_secret("NPM_TOKEN", "caf\udce9"))
