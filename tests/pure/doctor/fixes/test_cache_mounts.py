"""Add cache mounts to a RUN, and take out what empties or bypasses them."""

from __future__ import annotations

import pytest

from tests.support.fixes import fix_text

PIP = "--mount=type=cache,target=/root/.cache/pip"
NPM = "--mount=type=cache,target=/root/.npm"
APT = (
    "--mount=type=cache,target=/var/cache/apt,sharing=locked \\\n"
    "    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked"
)
KEEP = "rm -f /etc/apt/apt.conf.d/docker-clean"


@pytest.mark.parametrize(
    ("run", "fixed"),
    [
        (f"RUN {PIP} \\\n    pip install --no-cache-dir \\\n      x", f"RUN {PIP} \\\n    pip install \\\n      x"),
        (f"RUN {PIP} /venv/bin/pip install x --no-cache-dir", f"RUN {PIP} /venv/bin/pip install x"),
        (f"RUN {NPM} npm ci \\\n  && npm cache clean --force && x", f"RUN {NPM} npm ci && x"),
        (
            "RUN --mount=type=cache,target=/var/lib/apt apt-get update && rm -rf /var/lib/apt/lists/*",
            "RUN --mount=type=cache,target=/var/lib/apt apt-get update",
        ),
        (
            "RUN --mount=type=cache,target=/var/lib/apt x && rm -rf /var/lib/apt/lists/* /tmp/*",
            "RUN --mount=type=cache,target=/var/lib/apt x && rm -rf /tmp/*",
        ),
    ],
)
def test_mounted_caches_are_not_emptied_which_is_safe(run: str, fixed: str) -> None:
    text, (edit,) = fix_text(f"FROM a\n{run}\n")
    assert text == f"FROM a\n{fixed}\n"
    assert edit.is_safe
    assert "mount-defeated" in edit.rules


@pytest.mark.parametrize(
    "run",
    [
        f"RUN {NPM} pip install --no-cache-dir x",
        f"RUN {PIP} docker build --no-cache-dir x",
        f"RUN {NPM} npm ci && rm -rf /root/.cache",
        f"RUN {NPM} rm -rf /root/.npm/../x",
        f"RUN {NPM} npm ci; npm cache clean --force",
        f"RUN {NPM} npm cache clean --force",
        "RUN --mount=type=cache,target=$UNKNOWN npm ci && npm cache clean --force",
        'SHELL ["/bin/bash", "-c"]\nRUN --mount=type=cache,target=/root/.npm npm ci && npm cache clean --force',
    ],
)
def test_what_is_not_mounted_or_not_known_stays(run: str) -> None:
    assert fix_text(f"FROM a\n{run}\n", unsafe=True)[1] == []


@pytest.mark.parametrize(
    ("run", "fixed", "changes"),
    [
        ("RUN npm ci", f"RUN {NPM} \\\n    npm ci", "what the command leaves in /root/.npm"),
        ("RUN pip install --no-cache-dir x", f"RUN {PIP} \\\n    pip install x", ""),
        (
            "RUN \\\n  # why\n  pip install x && npm ci",
            f"RUN {PIP} \\\n    {NPM} \\\n  # why\n  pip install x && npm ci",
            "what the command leaves in /root/.cache/pip and /root/.npm",
        ),
        (
            "RUN apt-get update && apt-get install -y x \\\n && rm -rf /var/lib/apt/lists/*",
            f"RUN {APT} \\\n    {KEEP} && apt-get update && apt-get install -y x",
            "docker-clean, which makes apt delete what it downloads",
        ),
        ("RUN apk add --no-cache x && npm i", f"RUN {NPM} \\\n    apk add --no-cache x && npm i", "/root/.npm"),
    ],
)
def test_missing_mounts_are_added(run: str, fixed: str, changes: str) -> None:
    text, (edit,) = fix_text(f"FROM a\n{run}\n", unsafe=True)
    assert text == f"FROM a\n{fixed}\n"
    assert "cache-mount" in edit.rules
    assert (changes in edit.changes) if changes else edit.is_safe


@pytest.mark.parametrize(
    "lines",
    [
        "USER web\nRUN npm ci",
        "ENV npm_config_cache=/x\nRUN npm ci",
        "ENV HOME=/x\nRUN npm ci",
        "RUN go mod download",
        "RUN apk add x",
        "RUN --mount=type=tmpfs,target=/root/.npm npm ci",
        "RUN apt-get update && apt-get install -y x\nRUN apt-get install -y y",
        "RUN apt-get update\nRUN apt-get install -y y",
        "RUN <<EOF\nnpm ci\nEOF",
    ],
)
def test_mounts_that_would_do_harm_or_nothing_are_not_added(lines: str) -> None:
    assert fix_text(f"FROM a\n{lines}\n", unsafe=True)[1] == []


def test_apt_keeps_its_packages_in_a_mount_once() -> None:
    run = f"RUN {APT} \\\n    apt-get update && apt-get install -y x\n"
    text, (edit,) = fix_text(f"FROM a\n{run}{run}", unsafe=True)
    assert text.count(KEEP) == 1
    assert text.startswith(f"FROM a\nRUN {APT} \\\n    {KEEP} && apt-get update")
    assert "docker-clean" in edit.rules
    assert edit.changes == "/etc/apt/apt.conf.d/docker-clean is not in the image any more"
