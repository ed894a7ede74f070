"""Check the rule `copy-before-install`."""

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


@pytest.mark.parametrize(
    ("copy", "run", "fix"),
    [
        ("/app /app", "apt-get update && apt-get install -y ffmpeg", True),
        ("/app/out/full/ .", "npm ci", True),
        ("/app/out/json/ .", "npm ci", False),
        ("/app/package.json /app/yarn.lock ./", "yarn install", False),
        ("/app/node_modules node_modules", "apk add curl", False),
        ("/etc/apt /etc/apt", "apt-get install -y x", False),
    ],
)
def test_early_stage_copies_code_before_an_install_is_reported(copy: str, run: str, fix: bool) -> None:
    text = f"FROM a AS build\nWORKDIR /app\nCOPY . .\nRUN make\nFROM b\nCOPY --from=build {copy}\nRUN {run}\n"
    found = [each for each in examine_text(text) if each.rule == "copy-before-install"]
    assert bool(found) == fix
    if fix:
        copied = f"COPY --from=build {copy}"
        first = (copied.replace("full", "json"),) if "full" in copy else ()
        assert found[0].fix == (*first, f"RUN {run}", copied)


def test_early_copies_heredoc_keeps_its_end() -> None:
    text = "FROM node\nCOPY . .\nRUN <<EOF\nset -e\nnpm ci\nnpm run build\nEOF\n"
    assert only_finding("copy-before-install", examine_text(text, files="package.json a.ts")).fix == (
        "COPY package.json ./",
        "RUN <<EOF",
        "set -e",
        "npm ci",
        "EOF",
        "COPY . .",
        "RUN <<EOF",
        "set -e",
        "npm run build",
        "EOF",
    )


@pytest.mark.parametrize(
    ("run", "files", "lines"),
    [
        (
            "cd web && npm ci && npm run build",
            "web/package.json",
            ("RUN cd web && npm ci", "COPY . .", "RUN cd web && npm run build"),
        ),
        ("poetry install", "pyproject.toml", ("RUN poetry install --no-root", "COPY . .", "RUN poetry install")),
        (
            "uv sync --locked",
            "uv.lock",
            ("RUN uv sync --no-install-project --locked", "COPY . .", "RUN uv sync --locked"),
        ),
    ],
)
def test_early_copies_rest_of_the_run_keeps_its_folder_and_installs_the_code(
    run: str, files: str, lines: tuple[str, ...]
) -> None:
    found = only_finding("copy-before-install", examine_text(f"FROM a\nCOPY . .\nRUN {run}\n", files=f"{files} x"))
    assert found.fix[1:] == lines


def test_early_copies_files_of_install_scripts_are_copied_as_well() -> None:
    files = "package.json patches/a.patch prisma/schema.prisma src/a.ts"
    fix = only_finding("copy-before-install", examine_text("FROM a\nCOPY . .\nRUN npm ci\n", files=files)).fix
    assert fix[:3] == ("COPY package.json ./", "COPY patches/a.patch patches/", "COPY prisma/schema.prisma prisma/")


def test_early_copies_script_of_the_code_before_the_install_is_not_reported() -> None:
    text = "FROM a\nCOPY . .\nRUN ./scripts/setup.sh && npm ci\n"
    assert "copy-before-install" not in rule_names(examine_text(text, files="package.json scripts/setup.sh"))


def test_early_copies_files_chosen_for_the_install_are_not_reported() -> None:
    """A variable may name another manifest than the usual one, as BUNDLE_GEMFILE does."""
    text = "FROM ruby\nENV BUNDLE_GEMFILE=Gemfile.saas\nCOPY Gemfile Gemfile.saas ./\nRUN bundle install\n"
    found = examine_text(text, files="Gemfile Gemfile.saas", commits=("Gemfile.saas",) * 9)
    assert "copy-before-install" not in rule_names(found)
