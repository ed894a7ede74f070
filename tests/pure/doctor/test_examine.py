"""Examine whole Dockerfiles, and show the findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.examine import examine_dockerfile, findings_json, findings_text, other_target_notes
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.subject import Subject
from tests.support.findings import rule_names

DOCKERFILES = sorted((Path(__file__).parents[1] / "dockerfiles").glob("*.Dockerfile"))
EXAMPLE = Path(__file__).parents[3] / "example" / "Dockerfile"


def test_findings_text_shows_place_problem_cost_fix_and_notes() -> None:
    finding = Finding(
        rule="copy-link",
        path="Dockerfile",
        line=7,
        problem="the problem",
        fix=("COPY --link a b",),
        stage="app",
        seconds=90,
    )
    assert findings_text((finding,), ("BuildKit did not answer",)) == (
        "Dockerfile:7: the problem [copy-link]\n"
        "  costs 1 min 30 s each time (last run of stage app)\n"
        "    COPY --link a b\n\n"
        "1 finding\nnote: BuildKit did not answer\n"
    )
    assert json.loads(findings_json((finding,)))["findings"][0]["line"] == 7
    assert findings_text(()).startswith("no findings")


def test_findings_json_keeps_its_keys() -> None:
    finding = Finding(rule="secret", path="Dockerfile", line=2, problem="the problem")
    document = json.loads(findings_json((finding,), ("a note",)))
    assert document["notes"] == ["a note"]
    assert document["findings"] == [
        {
            "rule": "secret",
            "path": "Dockerfile",
            "line": 2,
            "what": "the problem",
            "fix": [],
            "stage": None,
            "seconds": None,
            "origin": "stagebake",
            "note": False,
            "lines": [],
            "pulled": None,
            "pushed": None,
            "runs": None,
            "pushes": None,
            "edit": None,
        }
    ]


def test_examine_dockerfile_skipped_rule_is_left_out() -> None:
    graph = parse_dockerfile("FROM a AS b\nARG NPM_TOKEN\n")
    assert rule_names(examine_dockerfile(Subject(graph, RepositoryFacts()))) == {"base-moves", "secret"}
    assert rule_names(examine_dockerfile(Subject(graph, RepositoryFacts()), skip=("base-moves",))) == {"secret"}


def test_examine_dockerfile_example_follows_its_advice() -> None:
    """Find only that images of the example are not pinned and that its copies are not linked."""
    files = "package.json package-lock.json requirements.txt app/page.tsx lib/score.ts trainer/audio.py"
    known = RepositoryFacts(files=frozenset(files.split()), commits=(frozenset({"app/page.tsx"}),) * 50)
    found = examine_dockerfile(Subject(parse_dockerfile(EXAMPLE.read_text(encoding="utf-8"), target="runtime"), known))
    assert rule_names(found) <= {"base-moves", "copy-link"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=[path.stem for path in DOCKERFILES])
def test_examine_dockerfile_any_shape_gives_the_same_findings_each_time(path: Path) -> None:
    """Report no Dockerfile for a problem that it does not have."""
    graph = parse_dockerfile(path.read_text(encoding="utf-8"), path=path.name)
    known = RepositoryFacts(files=frozenset({"package.json", "requirements.txt", "src/a.ts"}))
    found = examine_dockerfile(Subject(graph, known))
    assert rule_names(found) <= {"base-moves", "copy-link"}
    assert found == examine_dockerfile(Subject(graph, known))


def test_findings_text_file_name_with_line_break_starts_no_line() -> None:
    """Keep a file name from becoming a workflow command of the runner that prints it."""
    facts = RepositoryFacts(files=frozenset({"a\n::error::x/.env"}))
    text = findings_text(examine_dockerfile(Subject(parse_dockerfile(f"FROM a@sha256:{'0' * 64}\nCOPY . .\n"), facts)))
    assert "::error::x/.env" in text
    assert not any(line.startswith("::") for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "target", "note"),
    [
        ("FROM a AS base\nFROM base AS production\nFROM base AS lint\n", None, ("production", "lint", "production")),
        ("FROM a AS base\nFROM base AS app\nFROM app AS test\n", "app", ("test", "app", "test")),
        ("FROM a AS deps\nFROM deps AS app\nFROM b\n", None, ("deps`, `app", "stage-2", "app")),
    ],
    ids=["last-is-lint", "target", "chain"],
)
def test_other_target_notes_name_stages_and_a_target(text: str, target: str | None, note: tuple[str, str, str]) -> None:
    others, final, suggested = note
    (found,) = other_target_notes(parse_dockerfile(text, target=target))
    assert found.startswith(f"`{others}` w")
    assert f"`{final}` needs no part of it" in found
    assert found.endswith(f"run `stagebake doctor --target {suggested}`")


def test_other_target_notes_every_stage_needed_gives_none() -> None:
    assert other_target_notes(parse_dockerfile("FROM a AS base\nFROM base\n")) == ()
