"""Check the rules `cache-mount` and `apt-update`."""

from __future__ import annotations

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
                "    set -e; yarn install --frozen-lockfile;",
            ),
        ),
        (
            "RUN pip3 install uv && uv pip install --system -r requirements.txt --no-cache-dir",
            (
                "RUN --mount=type=cache,target=/root/.cache/uv \\",
                "    --mount=type=cache,target=/root/.cache/pip \\",
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
    assert found.problem == "`pip install` has no cache mount, so it downloads every package again whenever it runs"


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN --mount=type=cache,target=/root/.npm npm ci\n",
        "FROM a\nUSER app\nRUN npm ci\n",
        "FROM a AS b\nUSER 1000:1000\nFROM b\nRUN pip install x\n",
        "FROM a\nENV POETRY_CACHE_DIR=/tmp/poetry\nRUN poetry install\n",
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


def test_separate_apt_updates_are_joined_with_the_install() -> None:
    found = only_finding("apt-update", examine_text("FROM a\nRUN apt-get update\nRUN apt-get install -y curl\n"))
    assert (found.line, found.fix) == (2, ("RUN apt-get update && apt-get install -y curl",))
    assert "apt-update" not in rule_names(examine_text("FROM a\nRUN apt-get update && apt-get install -y curl\n"))
    assert "apt-update" not in rule_names(examine_text("FROM a\nRUN apt-get update && apt-get upgrade -y\n"))
