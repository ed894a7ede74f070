"""Check the rules `mount-defeated`, `docker-clean` and `mount-hides`."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names

_APT = "--mount=type=cache,target=/var/lib/apt/lists"


@pytest.mark.parametrize(
    ("run", "defeat", "fixed"),
    [
        (
            f"{_APT} apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*",
            "`rm -rf /var/lib/apt/lists/*`",
            f"{_APT} apt-get update && apt-get install -y x",
        ),
        (
            "--mount=type=cache,target=/root/.cache/pip pip install --no-cache-dir torch",
            "`--no-cache-dir`",
            "--mount=type=cache,target=/root/.cache/pip pip install torch",
        ),
        (
            "--mount=type=cache,target=/var/cache/apk apk add --no-cache curl",
            "`--no-cache`",
            "--mount=type=cache,target=/var/cache/apk apk add curl",
        ),
        (
            "--mount=type=cache,target=/root/.npm npm ci && npm cache clean --force",
            "`npm cache clean --force`",
            "--mount=type=cache,target=/root/.npm npm ci",
        ),
        (
            "--mount=type=cache,target=/root/.cache uv sync --no-cache",
            "`--no-cache`",
            "--mount=type=cache,target=/root/.cache uv sync",
        ),
    ],
    ids=["apt", "pip", "apk", "npm", "uv"],
)
def test_defeated_mounts_are_reported_without_what_defeats_them(run: str, defeat: str, fixed: str) -> None:
    found = only_finding("mount-defeated", examine_text(f"FROM a\nRUN {run}\n"))
    assert found.problem.startswith(defeat)
    assert found.fix == (f"RUN {fixed}",)


@pytest.mark.parametrize(
    "run",
    [
        "--mount=type=cache,target=/root/.npm npm ci && rm -rf /tmp/x",
        "--mount=type=cache,target=/root/.npm apk add --no-cache curl && npm ci",
        "pip install --no-cache-dir x",
    ],
)
def test_defeated_mounts_other_caches_are_not_reported(run: str) -> None:
    assert "mount-defeated" not in rule_names(examine_text(f"FROM a\nRUN {run}\n"))


CLEANED = "--mount=type=cache,target=/var/cache/apt,sharing=locked apt-get update && apt-get install -y curl"


def test_docker_clean_that_is_not_removed_is_reported() -> None:
    found = only_finding("docker-clean", examine_text(f"FROM debian:12\nRUN {CLEANED}\n"))
    assert "rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update" in found.fix[0]


@pytest.mark.parametrize(
    "text",
    [
        f"FROM debian\nRUN rm -f /etc/apt/apt.conf.d/docker-clean\nRUN {CLEANED}\n",
        f"FROM debian AS a\nRUN echo 'Keep-Downloaded-Packages \"true\";' > /etc/x\nFROM a\nRUN {CLEANED}\n",
        "FROM debian\nRUN apt-get update && apt-get install -y curl\n",
    ],
    ids=["removed", "kept-below", "no-mount"],
)
def test_docker_clean_removed_is_not_reported(text: str) -> None:
    assert "docker-clean" not in rule_names(examine_text(text))


def test_hiding_mounts_earlier_download_without_the_mount_is_reported() -> None:
    mount = "--mount=type=cache,target=/go/pkg/mod"
    text = f"FROM golang\nCOPY go.mod .\nRUN go mod download\nCOPY . .\nRUN {mount} go build\n"
    assert (only_finding("mount-hides", examine_text(text)).line) == 3
    mounted = text.replace("RUN go mod", f"RUN {mount} go mod")
    assert "mount-hides" not in rule_names(examine_text(mounted))
