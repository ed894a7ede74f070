"""Check the rules `arg-early` and `secret`."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names

ARGUMENT = """\
FROM debian AS a
ARG GIT_SHA
ENV REVISION=$GIT_SHA
RUN npm ci
RUN make VERSION=$GIT_SHA
"""


@pytest.mark.parametrize("default", ["", "=", "=unknown", '="dev-build"', "=HEAD"])
def test_early_arguments_placeholder_default_is_reported(default: str) -> None:
    """Expect a new value in each build where the default is a placeholder."""
    assert only_finding("arg-early", examine_text(f"FROM a\nARG BUILD_HASH{default}\nRUN npm ci\n")).line == 2


def test_early_arguments_unused_by_next_run_moves_before_first_use() -> None:
    """Move the ARG from before line 4, where RUN does not use it, to before line 5."""
    found = only_finding("arg-early", examine_text(ARGUMENT))
    assert found.line == 2
    assert "line 4" in found.problem
    assert "before line 5" in found.problem
    assert found.fix == (
        "RUN npm ci",
        "ARG GIT_SHA",
        "ENV REVISION=$GIT_SHA",
        "RUN make VERSION=$GIT_SHA",
    )


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN npm ci\nARG GIT_SHA\nLABEL revision=$GIT_SHA\n",
        "FROM a\nARG GIT_SHA\nRUN make VERSION=$GIT_SHA\nRUN npm ci\n",
        "FROM a\nARG GIT_SHA\nENV REVISION=$GIT_SHA\nRUN echo $REVISION\n",
        "FROM a\nARG NODE_MAJOR=22\nRUN npm ci\n",
        "ARG BUILD_DATE\nFROM a\nRUN npm ci\n",
        "FROM a\nARG COMMIT\nRUN <<EOF\necho $COMMIT\nEOF\n",
        "FROM a\nARG OPENSSL_COMMIT=3f4a\nRUN npm ci\nRUN get $OPENSSL_COMMIT\n",
    ],
    ids=["at-the-end", "used-at-once", "through-env", "seldom-changes", "before-from", "in-a-heredoc", "pinned"],
)
def test_early_arguments_harmless_argument_is_not_reported(text: str) -> None:
    """Leave out an ARG that the next RUN uses, that comes last, or that seldom changes."""
    assert "arg-early" not in rule_names(examine_text(text))


@pytest.mark.parametrize("run", ["cargo build --release", "npm run build", "make", "./build.sh", "mix compile"])
def test_early_arguments_program_that_may_read_the_environment_is_not_reported(run: str) -> None:
    assert "arg-early" not in rule_names(examine_text(f"FROM a\nCOPY . .\nARG GIT_SHA\nRUN {run}\n"))


def test_early_arguments_env_of_a_base_stage_reruns_the_stages_above() -> None:
    base = "FROM ruby AS base\nARG BUILD_COMMIT_SHA\nENV A=1 SHA=$BUILD_COMMIT_SHA\n"
    text = f"{base}FROM base\nRUN apt-get install -y git\n"
    found = only_finding("arg-early", examine_text(text))
    assert "the RUN in line 5" in found.problem
    assert found.fix == ()  # the ENV sets another variable, too
    assert "arg-early" not in rule_names(examine_text(text.replace("ENV A=1 SHA=$BUILD_COMMIT_SHA", "ENV A=1")))


def test_early_arguments_label_moves_with_the_argument() -> None:
    text = "FROM node\nARG REVISION\nLABEL revision=$REVISION\nRUN apk add tini\n"
    fix = only_finding("arg-early", examine_text(text)).fix
    assert fix == ("RUN apk add tini", "ARG REVISION", "LABEL revision=$REVISION")


def test_early_arguments_run_after_the_code_runs_anyway() -> None:
    text = "FROM node\nCOPY . .\nARG GIT_SHA\nRUN rm -f x\nRUN make\n"
    assert "arg-early" not in rule_names(examine_text(text))


def test_early_arguments_moves_before_the_copy_of_the_run_that_compiles() -> None:
    text = "FROM rust\nARG GIT_SHA\nRUN apt-get update && apt-get install -y clang\nCOPY . .\nRUN cargo build\n"
    found = only_finding("arg-early", examine_text(text))
    assert found.fix == ("RUN apt-get update && apt-get install -y clang", "ARG GIT_SHA", "COPY . .")


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


@pytest.mark.parametrize(
    "line",
    [
        "ARG APT_KEY_DONT_WARN_ON_DANGEROUS_USAGE=DontWarn",
        "ARG PRIVATE_KEY_ROTATION_GRACE_PERIOD=0",
        "ENV SECRET_KEY_BASE=placeholder",
        "ENV AUTH_TOKEN_LIFETIME=60",
        "ARG VITE_API_KEY",
        "ENV GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
    ],
)
def test_secret_variables_name_of_a_switch_or_a_placeholder_is_not_reported(line: str) -> None:
    assert "secret" not in rule_names(examine_text(f"FROM a\n{line}\n"))
