"""Test `stagebake doctor` on a real git repository."""

from __future__ import annotations

import json

from tests.git.conftest import CreateRepository

DOCTOR = "FROM node:24 AS app\nCOPY . .\nRUN npm ci\n"


def test_doctor_in_repository_counts_rebuilds(create_repository: CreateRepository) -> None:
    """Count rebuilds in git; without an engine, note that BuildKit was not asked; exit 1 with --strict."""
    files = {"Dockerfile": DOCTOR, "package.json": "{}", ".dockerignore": "notes\n", "notes/x": "1"}
    repository = create_repository(files, *({"a.ts": str(number), "notes/x": str(number)} for number in range(7)))
    repository.checkout()
    answer = repository.stagebake("doctor", "--json", "--seconds=app=60")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    early = next(found for found in document["findings"] if found["rule"] == "copy-before-install")
    assert "8 of the last 8 rebuilds (most often a.ts" in early["what"]
    assert (early["line"], early["seconds"]) == (2, 60)
    assert any("BuildKit's build checks did not run" in note for note in document["notes"])
    assert repository.stagebake("doctor", "--strict").returncode == 1
    skipped = [f"--skip={found['rule']}" for found in document["findings"]]
    assert repository.stagebake("doctor", "--strict", *skipped).returncode == 0
