"""Check the rules `copy-before-install` and `arg-early`."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names

NPM = """\
FROM node:24 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.npm npm ci && npm run build
"""


def test_early_copies_whole_context_gives_lines_in_better_order() -> None:
    """Copy what npm reads, install, then copy the rest and run the other commands."""
    found = only_finding("copy-before-install", examine_text(NPM, files="package.json package-lock.json src/a.ts"))
    assert (found.line, found.stage) == (3, "build")
    assert found.fix == (
        "COPY package-lock.json package.json ./",
        "RUN --mount=type=cache,target=/root/.npm npm ci",
        "COPY . .",
        "RUN --mount=type=cache,target=/root/.npm npm run build",
    )


def test_early_copies_without_history_says_what_runs_again() -> None:
    found = only_finding("copy-before-install", examine_text(NPM, files="package.json src/a.ts"))
    assert found.problem == (
        "`COPY . .` comes before `npm ci` (line 4), so a change to any of its files runs the install again"
    )


def test_early_copies_with_history_counts_rebuilds_and_names_files() -> None:
    """Count only the rebuilds for files that the install does not need, and name the most frequent of these files."""
    commits = ("src/a.ts", "src/a.ts src/b.ts", "package.json", "src/c.ts package.json", "elsewhere/x")
    found = only_finding("copy-before-install", examine_text(NPM, files="package.json src/a.ts", commits=commits))
    assert "it caused 4 of the last 5 rebuilds (most often src/a.ts" in found.problem


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("FROM x AS a\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n", "package.json src/a.ts"),
        ("FROM x AS a\nCOPY . .\nRUN pip install .\n", "pyproject.toml a.py"),
        ("FROM x AS a\nCOPY . .\nRUN pip install -e .[dev]\n", "pyproject.toml a.py"),
        ("FROM x AS a\nCOPY . .\nRUN make\n", "Makefile"),
        ("FROM x AS a\nCOPY prisma prisma\nRUN npm ci\n", "package.json prisma/schema.prisma"),
        ("FROM x AS a\nCOPY . .\nRUN apt-get update && apt-get install ./mine.deb\n", "mine.deb"),
        ("FROM x AS a\nCOPY --from=y / /\nRUN apk add git\n", "a.py"),
        ("FROM x AS a\nCOPY . .\nRUN npm ci\nFROM x AS b\n", "package.json src/a.ts"),
    ],
    ids=["ordered", "pip-code", "pip-editable", "make", "schema", "deb", "from-stage", "stage-not-built"],
)
def test_early_copies_needed_or_harmless_copy_is_not_reported(text: str, files: str) -> None:
    """Leave out files that the install needs, commands that install nothing, and stages that are not built."""
    assert "copy-before-install" not in rule_names(examine_text(text, files=files))


def test_early_copies_some_files_are_reported_when_they_change_often() -> None:
    """Report a folder that the install does not name once it caused a fifth of the rebuilds."""
    text = "FROM x AS a\nCOPY scripts scripts\nRUN apt-get update && apt-get install -y git\nCOPY src src\n"
    seldom = ("src/a",) * 30 + ("scripts/x",) * 5
    assert "copy-before-install" not in rule_names(examine_text(text, files="scripts/x src/a", commits=seldom))
    often = ("src/a",) * 15 + ("scripts/x",) * 5
    found = only_finding("copy-before-install", examine_text(text, files="scripts/x src/a", commits=often))
    assert "5 of the last 20 rebuilds" in found.problem
    assert found.fix == ("RUN apt-get update && apt-get install -y git", "COPY scripts scripts")


def test_early_copies_requirements_in_folder_keep_their_destination() -> None:
    """Copy the files that the command names to where the original COPY puts them."""
    text = "FROM python:3.13\nCOPY server /app\nRUN pip install -r /app/requirements/base.txt\n"
    found = examine_text(text, files="server/requirements/base.txt server/main.py", commits=("server/main.py",) * 5)
    assert only_finding("copy-before-install", found).fix[0] == "COPY server/requirements/base.txt /app/requirements/"


def test_early_copies_workspace_copies_every_package_json_first() -> None:
    files = "package.json yarn.lock packages/a/package.json packages/a/x.ts node_modules/b/package.json"
    findings = examine_text("FROM a\nCOPY . /app/\nRUN yarn install\n", files=files)
    assert only_finding("copy-before-install", findings).fix == (
        "COPY package.json yarn.lock /app/",
        "COPY packages/a/package.json /app/packages/a/",
        "RUN yarn install",
        "COPY . /app/",
    )


def test_early_copies_two_package_managers_need_files_of_both() -> None:
    text = "FROM a\nCOPY Gemfile Gemfile.lock ./\nRUN apt-get update && apt-get install -y gcc && bundle install\n"
    found = examine_text(text, files="Gemfile Gemfile.lock", commits=("Gemfile.lock",) * 9)
    assert "copy-before-install" not in rule_names(found)


def test_early_copies_copy_in_base_stage_is_reported() -> None:
    """Count the COPY of the stage that the installing stage starts from."""
    text = "FROM node:24 AS code\nCOPY . .\nFROM code AS deps\nRUN npm ci\n"
    assert only_finding("copy-before-install", examine_text(text, files="package.json")).line == 2


@pytest.mark.parametrize(
    ("install", "manifest"),
    [
        ("bun install --frozen-lockfile", "bun.lock"),
        ("pipenv install --deploy", "Pipfile"),
        ("micromamba create -f environment.yml", "environment.yml"),
        ("mvn -B dependency:go-offline", "pom.xml"),
    ],
)
def test_early_copies_other_package_managers_copy_manifest_first(install: str, manifest: str) -> None:
    findings = examine_text(f"FROM a\nCOPY . .\nRUN {install}\n", files=f"{manifest} src/a")
    found = only_finding("copy-before-install", findings)
    assert found.fix == (f"COPY {manifest} ./", f"RUN {install}", "COPY . .")


ARGUMENT = """\
FROM debian AS a
ARG GIT_SHA
ENV REVISION=$GIT_SHA
RUN make deps
RUN make VERSION=$GIT_SHA
"""


@pytest.mark.parametrize("default", ["", "=", "=unknown", '="dev-build"', "=HEAD"])
def test_early_arguments_placeholder_default_is_reported(default: str) -> None:
    """Expect a new value in each build where the default is a placeholder."""
    assert only_finding("arg-early", examine_text(f"FROM a\nARG BUILD_HASH{default}\nRUN npm run x\n")).line == 2


def test_early_arguments_unused_by_next_run_moves_before_first_use() -> None:
    """Move the ARG from before line 4, where RUN does not use it, to before line 5."""
    found = only_finding("arg-early", examine_text(ARGUMENT))
    assert found.line == 2
    assert "line 4" in found.problem
    assert "before line 5" in found.problem
    assert found.fix == ("RUN make deps", "ARG GIT_SHA", "RUN make VERSION=$GIT_SHA")


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN make\nARG GIT_SHA\nLABEL revision=$GIT_SHA\n",
        "FROM a\nARG GIT_SHA\nRUN make VERSION=$GIT_SHA\nRUN make more\n",
        "FROM a\nARG GIT_SHA\nENV REVISION=$GIT_SHA\nRUN echo $REVISION\n",
        "FROM a\nARG NODE_MAJOR=22\nRUN make\n",
        "ARG BUILD_DATE\nFROM a\nRUN make\n",
        "FROM a\nARG COMMIT\nRUN <<EOF\necho $COMMIT\nEOF\n",
        "FROM a\nARG OPENSSL_COMMIT=3f4a\nRUN make\nRUN get $OPENSSL_COMMIT\n",
    ],
    ids=["at-the-end", "used-at-once", "through-env", "seldom-changes", "before-from", "in-a-heredoc", "pinned"],
)
def test_early_arguments_harmless_argument_is_not_reported(text: str) -> None:
    """Leave out an ARG that the next RUN uses, that comes last, or that seldom changes."""
    assert "arg-early" not in rule_names(examine_text(text))
