"""Ask a `docker` for versions that fails, is missing, or does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.buildkit import versions
from stagebake.buildkit.versions import Versions, read_versions, read_versions_later

ANSWERS = """\
case "$*" in
  "buildx version") echo 'github.com/docker/buildx v0.36.1 abc' ;;
  "buildx inspect mine") echo 'BuildKit version: v0.32.2' ;;
  "buildx inspect") echo 'BuildKit version: v0.25.2' ;;
esac
"""


@pytest.mark.parametrize(
    ("script", "builder", "expected"),
    [
        (ANSWERS, None, Versions("0.25.2", "0.36.1")),
        (ANSWERS, "mine", Versions("0.32.2", "0.36.1")),
        ("echo 'ERROR: no builder' >&2; exit 1", None, Versions()),
        ("exec sleep 60", None, Versions()),
        ("printf '\\377'", None, Versions()),
        (None, None, Versions()),
    ],
    ids=["current", "named", "fails", "hangs", "garbage", "missing"],
)
def test_read_versions_of_any_docker_never_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, builder: str | None, expected: Versions
) -> None:
    if script is not None:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if script is not None else str(tmp_path))
    monkeypatch.setattr(versions, "_ANSWER_SECONDS", 1.0)
    assert read_versions(builder) == expected
    assert read_versions_later(builder).result(timeout=10) == expected
