"""Check the rules `base-moves`, `secret` and `copy-link`."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("node", "`node` changes with each release"),
        ("node:latest", "`node:latest` changes with each release"),
        ("registry.test:5000/node", "changes with each release"),
        ("node:24-slim", "changes whenever tag `24-slim` moves"),
    ],
)
def test_moving_images_without_digest_is_reported_once(image: str, message: str) -> None:
    """Report an image at the first line that names it."""
    text = f"FROM {image} AS a\nRUN x\nFROM {image} AS b\nCOPY --from=a /x /x\n"
    found = only_finding("base-moves", examine_text(text))
    assert found.line == 1
    assert message in found.problem


def test_moving_images_pinned_or_replaced_is_not_reported() -> None:
    """Leave out an image with a digest, and one that a named context replaces."""
    text = f"FROM a@sha256:{'0' * 64} AS a\nFROM tools:1 AS b\nCOPY --from=a /x /x\n"
    assert "base-moves" not in rule_names(examine_text(text, replaced=frozenset({"tools:1"})))


def test_secret_variables_arg_gets_a_secret_mount() -> None:
    found = only_finding("secret", examine_text("FROM a\nARG NPM_TOKEN\nCOPY . .\n"))
    assert found.line == 2
    assert found.fix[0] == "RUN --mount=type=secret,id=npm_token,env=NPM_TOKEN …"


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("ONBUILD ENV API_KEY=abc", [2]),
        ("ONBUILD ARG \\\n  API_KEY", [2]),
        ("ONBUILD ENV MODE=x", []),
        ("ONBUILD ENV API_KEY", []),
        ("ONBUILD RUNN API_KEY", []),
    ],
)
def test_secret_variables_onbuild_is_reported_once_if_valid(line: str, lines: list[int]) -> None:
    text = f"FROM a AS base\n{line}\nFROM b AS app\n"
    assert [found.line for found in examine_text(text) if found.rule == "secret"] == lines


def test_secret_variables_global_arg_is_reported_where_a_stage_declares_it() -> None:
    """Only an ARG of a stage is in the history of the image."""
    assert "secret" not in rule_names(examine_text("ARG API_KEY=abc\nFROM a\n"))
    assert only_finding("secret", examine_text("ARG API_KEY=abc\nFROM a\nARG API_KEY\n")).line == 3


def test_secret_variables_empty_env_is_not_reported() -> None:
    assert "secret" not in rule_names(examine_text('FROM a\nENV API_KEY="" OTHER_TOKEN=\n'))
    assert only_finding("secret", examine_text("FROM a\nENV API_KEY=abc\n")).line == 2


def test_unlinked_copies_at_the_end_are_reported_together() -> None:
    """Leave out a COPY before a RUN, which needs the layers below anyway, and an owner by name."""
    text = (
        "FROM debian AS build\nRUN make\nFROM debian AS app\nCOPY etc /etc\nRUN x\n"
        "COPY --from=build /a /a\nCOPY --chown=10:10 b /b\nCOPY --chown=web c /c\n"
    )
    found = only_finding("copy-link", examine_text(text))
    assert found.line == 6
    assert found.fix == ("COPY --link --from=build /a /a", "COPY --link --chown=10:10 b /b")


@pytest.mark.parametrize(
    "text",
    [
        "FROM debian AS a\nCOPY --link b /b\n",
        "FROM scratch\nCOPY b /b\n",
        "FROM debian\nCOPY b /b\nRUN c\n",
        "FROM debian\nCOPY --from=busybox:1 /bin/sh /bin/sh\n",
        "FROM debian\nADD https://example.org/x /x\n",
    ],
    ids=["linked", "nothing-below", "run-after", "image", "remote"],
)
def test_unlinked_copies_without_gain_are_not_reported(text: str) -> None:
    """Leave out a COPY with nothing below it, with a RUN after it, or with a source that does not change."""
    assert "copy-link" not in rule_names(examine_text(text))
