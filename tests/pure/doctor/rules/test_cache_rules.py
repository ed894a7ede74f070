"""Check the rules `cache-mount` and `compile-cache`."""

from __future__ import annotations

import re

import pytest

from tests.support.findings import examine_text, only_finding, rule_names


@pytest.mark.parametrize(
    ("run", "fix"),
    [
        (
            "RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*",
            (
                "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\",
                "    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \\",
                "    rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && apt-get install -y curl",
            ),
        ),
        (
            "RUN pip install --no-cache-dir -r requirements.txt",
            ("RUN --mount=type=cache,target=/root/.cache/pip \\", "    pip install -r requirements.txt"),
        ),
        (
            "RUN --network=host npm ci",
            ("RUN --mount=type=cache,target=/root/.npm \\", "    --network=host \\", "    npm ci"),
        ),
        (
            "RUN set -e; \\\n  yarn install --frozen-lockfile; \\\n  yarn cache clean --all;",
            (
                "RUN --mount=type=cache,target=/usr/local/share/.cache/yarn \\",
                "    set -e; yarn install --frozen-lockfile",
            ),
        ),
        (
            "RUN pip3 install uv && uv pip install --system -r requirements.txt --no-cache-dir",
            (
                "RUN --mount=type=cache,target=/root/.cache/pip \\",
                "    --mount=type=cache,target=/root/.cache/uv \\",
                "    pip3 install uv && uv pip install --system -r requirements.txt",
            ),
        ),
        ("RUN uv sync --locked", ("RUN --mount=type=cache,target=/root/.cache/uv \\", "    uv sync --locked")),
    ],
    ids=["apt-get", "pip", "npm-with-a-flag", "yarn-cleaned", "uv-by-pip", "uv"],
)
def test_missing_cache_mounts_adds_mount_and_removes_what_empties_it(run: str, fix: tuple[str, ...]) -> None:
    found = only_finding("cache-mount", examine_text(f"FROM a AS base\n{run}\n", seconds={"base": 41.0}))
    assert (found.line, found.seconds, found.fix) == (2, 41.0, fix)


def test_missing_cache_mounts_message_names_short_command() -> None:
    found = only_finding("cache-mount", examine_text("FROM a\nRUN pip  install -r requirements.txt\n"))
    assert found.problem == (
        "`pip install` has no cache mount, so every package is downloaded again whenever it runs; on runners that live "
        "for one job, set `cache-mounts = true` as well"
    )


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN --mount=type=cache,target=/root/.npm npm ci\n",
        "FROM a\nUSER app\nRUN npm ci\n",
        "FROM a AS b\nUSER 1000:1000\nFROM b\nRUN pip install x\n",
        "FROM a\nENV POETRY_CACHE_DIR=$HOME/poetry\nRUN poetry install\n",
        "FROM a\nENV PIP_NO_CACHE_DIR=1\nRUN pip install x\n",
        "FROM a\nRUN apk add --no-cache git\n",
        "FROM a\nRUN npm run install-hooks\n",
        "FROM a\nRUN echo 'apt is fine' && make install\n",
    ],
    ids=["mounted", "user", "user-below", "elsewhere", "none-wanted", "apk", "script", "make-install"],
)
def test_missing_cache_mounts_known_exception_is_not_reported(text: str) -> None:
    """Leave out a mounted cache, a user whose home is unknown, and commands that only look like an install."""
    assert "cache-mount" not in rule_names(examine_text(text))


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/* /tmp/*", "rm -rf /tmp/*"),
        ("apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists", ""),
        ("apt-get update && apt-get install -y curl && rm -rf /var/cache/apt/archives /x", "rm -rf /x"),
        ("apt-get update && apt-get install -y curl && rm -rf /var/{cache,log}/*", "rm -rf /var/log/*"),
        ("apt-get update && apt-get install -y curl && apt-get clean -y", ""),
        ("apt-get update && apt-get install -y curl; apt-get -y clean; make", "make"),
    ],
)
def test_missing_cache_mounts_fix_empties_nothing_that_it_mounts(command: str, kept: str) -> None:
    lines = only_finding("cache-mount", examine_text(f"FROM debian:12\nRUN {command}\n")).fix
    installed = "rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && apt-get install -y curl"
    assert lines[-1].strip() in (f"{installed} && {kept}", f"{installed}; {kept}", installed)
    assert kept in lines[-1]


def test_missing_cache_mounts_apk_keeps_its_flag_beside_npm() -> None:
    found = only_finding(
        "cache-mount", examine_text("FROM node:22-alpine\nRUN apk add --no-cache curl && npm i -g pnpm\n")
    )
    assert found.problem.startswith("`npm i` has no")
    assert found.fix[-1].strip() == "apk add --no-cache curl && npm i -g pnpm"


def test_missing_cache_mounts_heredoc_keeps_its_end_and_loses_the_removal() -> None:
    text = (
        "FROM debian:12\nRUN <<EOF\nset -e\napt-get update\napt-get install -y curl\nrm -rf /var/lib/apt/lists/*\nEOF\n"
    )
    assert only_finding("cache-mount", examine_text(text)).fix[1:] == (
        "set -e",
        "rm -f /etc/apt/apt.conf.d/docker-clean",
        "apt-get update",
        "apt-get install -y curl",
        "EOF",
    )


def test_missing_cache_mounts_removal_in_a_condition_gives_no_lines() -> None:
    text = "FROM debian:12\nRUN if true; then apt-get update && apt-get install -y x; rm -rf /var/lib/apt/lists/*; fi\n"
    assert only_finding("cache-mount", examine_text(text)).fix == ()


@pytest.mark.parametrize(
    "text",
    [
        "FROM debian AS base\nRUN apt-get update && apt-get install -y a\nFROM base\nRUN apt-get install -y make\n",
        "FROM debian:12\nRUN apt-get update\nRUN apt-get install -y curl\n",
    ],
)
def test_missing_cache_mounts_package_lists_of_a_lower_layer_stay_visible(text: str) -> None:
    fixes = [line for found in examine_text(text) for line in found.fix if found.rule == "cache-mount"]
    assert any("/var/cache/apt," in line for line in fixes)
    assert not any("/var/lib/apt/lists" in line for line in fixes)


GO = """\
FROM golang:1.25 AS build
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -o /x .
FROM scratch
COPY --from=build /x /x
"""


def test_missing_cache_mounts_go_modules_are_mounted_in_every_run_or_in_none() -> None:
    found = only_finding("compile-cache", examine_text(GO))
    assert (found.line, found.lines) == (3, (5,))
    assert found.fix == (
        "RUN --mount=type=cache,target=/go/pkg/mod \\",
        "    go mod download",
        "RUN --mount=type=cache,target=/go/pkg/mod \\",
        "    --mount=type=cache,target=/root/.cache/go-build \\",
        "    CGO_ENABLED=0 go build -o /x .",
    )


@pytest.mark.parametrize(
    "change",
    [("COPY . .\n", "COPY . .\nUSER app\n"), ("FROM scratch\n", "FROM scratch\nCOPY --from=build /go/pkg /go/pkg\n")],
    ids=["other-user", "copied"],
)
def test_missing_cache_mounts_store_that_another_step_needs_is_not_mounted(change: tuple[str, str]) -> None:
    fixes = [line for found in examine_text(GO.replace(*change)) for line in found.fix]
    assert not any("/go/pkg/mod" in line for line in fixes)


@pytest.mark.parametrize(
    ("image", "run", "folders"),
    [
        ("rust:1", "cargo build --release", ["/usr/local/cargo/registry", "/usr/local/cargo/git"]),
        ("debian", "cargo build", ["/root/.cargo/registry", "/root/.cargo/git"]),
        ("maven:3", "mvn -B package", ["/root/.m2/repository"]),
        ("gradle:8", "gradle bootJar", ["/home/gradle/.gradle"]),
        ("openjdk", "./gradlew build", ["/root/.gradle"]),
        ("sdk", "dotnet publish -c Release", ["/root/.nuget/packages"]),
        ("composer:2", "composer install", ["/tmp/cache"]),
        ("php", "composer install --no-dev", ["/root/.composer/cache"]),
        ("elixir", "mix deps.get", ["/root/.hex"]),
        ("miniconda3", "conda env create -f environment.yml", ["/opt/conda/pkgs"]),
        ("python", "poetry install", ["/root/.cache/pypoetry/cache", "/root/.cache/pypoetry/artifacts"]),
        ("fedora", "dnf install -y git", ["/var/cache/dnf"]),
    ],
)
def test_missing_cache_mounts_each_tool_has_its_folders(image: str, run: str, folders: list[str]) -> None:
    findings = examine_text(f"FROM {image}\nCOPY . .\nRUN {run}\n")
    (found,) = (each for each in findings if each.rule in ("cache-mount", "compile-cache"))
    assert [re.sub(r".*target=|,sharing.*| .*$", "", line) for line in found.fix if "--mount" in line] == folders


def test_missing_cache_mounts_variable_moves_the_cache() -> None:
    found = only_finding("cache-mount", examine_text("FROM node\nENV PNPM_HOME=/pnpm\nRUN pnpm install\n"))
    assert found.fix[0] == "RUN --mount=type=cache,target=/pnpm/store \\"


def test_missing_cache_mounts_install_that_no_push_runs_again_is_a_note() -> None:
    text = "FROM debian\nRUN apt-get update && apt-get install -y curl\nCOPY package.json .\nRUN npm ci\nCOPY . .\n"
    notes = {found.line: found.is_note for found in examine_text(text) if found.rule == "cache-mount"}
    assert notes == {2: True, 4: False}


@pytest.mark.parametrize(
    "text",
    [
        "FROM python\nCOPY . .\nRUN pip install --no-deps /wheels/x.whl\n",
        "FROM python\nCOPY . .\nRUN pip install --upgrade pip && pip install /wheels/*\n",
        "FROM node\nCOPY .local /root/.local\nRUN pnpm install\n",
        "FROM acme/build\nCOPY . .\nRUN go mod download\n",
    ],
    ids=["no-download", "local-files", "copied-store", "unknown-image"],
)
def test_missing_cache_mounts_nothing_to_cache_or_unknown_place_is_not_reported(text: str) -> None:
    assert not {"cache-mount", "compile-cache"} & rule_names(examine_text(text))


def test_missing_cache_mounts_script_that_may_run_go_gets_the_modules_too() -> None:
    text = "FROM golang:1\nCOPY go.mod .\nRUN go mod download\nCOPY . .\nRUN make\n"
    (found,) = (each for each in examine_text(text) if each.rule.endswith(("mount", "cache")))
    assert "(and line 5)" in found.problem
    assert found.fix[-3:] == (
        "RUN --mount=type=cache,target=/go/pkg/mod \\",
        "    --mount=type=cache,target=/root/.cache/go-build \\",
        "    make",
    )
