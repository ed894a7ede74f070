"""Read the answer of BuildKit's build checks."""

from __future__ import annotations

import json

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.build_checks import BuildChecks, fold_other_checks, parse_build_checks
from stagebake.doctor.examine import examine_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.subject import Subject
from stagebake.errors import EngineError

ANSWER = {
    "warnings": [
        {
            "ruleName": "SecretsUsedInArgOrEnv",
            "detail": 'ARG "NPM_TOKEN"',
            "location": {"ranges": [{"start": {"line": 2}}]},
        },
        {
            "ruleName": "MaintainerDeprecated",
            "detail": "Maintainer instruction is deprecated",
            "url": "https://docs.docker.com/x/",
            "location": {"ranges": [{"start": {"line": 3}}]},
        },
    ]
}


def test_parse_build_checks_warnings_join_the_findings_by_line() -> None:
    """Leave out a check that a rule has found as well."""
    checks = parse_build_checks(json.dumps(ANSWER), "", "Dockerfile")
    graph = parse_dockerfile(f"FROM a@sha256:{'0' * 64}\nARG NPM_TOKEN\nMAINTAINER me\n")
    found = examine_dockerfile(Subject(graph, RepositoryFacts()), checks)
    assert [(finding.line, finding.rule, finding.origin) for finding in found] == [
        (2, "secret", "stagebake"),
        (3, "MaintainerDeprecated", "BuildKit"),
    ]


@pytest.mark.parametrize("stdout", ["", "no JSON {", '{"error": 1}'])
def test_parse_build_checks_without_answer_raises_last_message(stdout: str) -> None:
    with pytest.raises(EngineError, match="Cannot connect to the Docker daemon"):
        parse_build_checks(stdout, "first\nERROR: Cannot connect to the Docker daemon\n", "Dockerfile")


@pytest.mark.parametrize(
    ("location", "line"), [({"ranges": [{"start": {"line": 2}}]}, 2), (None, 1)], ids=["with-line", "without-line"]
)
def test_parse_build_checks_refusal_is_a_finding(location: dict[str, object] | None, line: int) -> None:
    refusal = {"message": "unknown flag: --no", "location": location}
    answer = json.dumps({"warnings": None, "buildError": refusal})
    (finding,) = parse_build_checks(answer, "", "Dockerfile")
    assert (finding.rule, finding.line, finding.origin) == ("BuildError", line, "BuildKit")
    assert finding.problem == "BuildKit refuses this Dockerfile: unknown flag: --no"


def test_parse_build_checks_image_not_fetched_is_not_a_refusal() -> None:
    message = "debian:12: failed to resolve source metadata for docker.io/library/debian:12: no such host"
    answer = json.dumps({**ANSWER, "buildError": {"message": message}})
    assert len(parse_build_checks(answer, "", "Dockerfile")) == 2


@pytest.mark.parametrize(
    ("stderr", "hint"),
    [
        ("ERROR: Cannot connect to the Docker daemon at unix:///x", "start Docker, and run doctor again"),
        ("failed to resolve source metadata for r.io/x:1: no such host", "make r.io/x:1 available to the builder, and"),
        ("ERROR: invalid context name a:: invalid", "run `docker buildx build --check .` for the whole message"),
        ('ERROR: no builder "x" found', "run `docker buildx build --check .` for the whole message"),
    ],
    ids=["no-engine", "image", "context", "builder"],
)
def test_parse_build_checks_without_answer_hints_at_the_cause(stderr: str, hint: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse_build_checks("", stderr, "Dockerfile")
    assert caught.value.hint.startswith(hint)


def test_fold_other_checks_names_checks_of_style_in_one_note() -> None:
    """Keep what changes a build's result, and what the settings select."""
    named = ((2, "UndefinedVar"), (9, "StageNameCasing"), (3, "StageNameCasing"), (4, "MaintainerDeprecated"))
    findings = tuple(Finding(rule=rule, path="Dockerfile", line=line, problem="x") for line, rule in named)
    folded = fold_other_checks(BuildChecks(findings, ("a note",)))
    assert folded.findings == findings[:1]
    listed = "MaintainerDeprecated (line 4), StageNameCasing (lines 3, 9)"
    assert folded.notes == ("a note", f"BuildKit's build checks also warn, not about caching, of {listed}")
    assert fold_other_checks(BuildChecks(findings), ["MaintainerDeprecated"]).findings == (findings[0], findings[3])


def test_fold_other_checks_without_others_changes_nothing() -> None:
    checks = BuildChecks((Finding(rule="BuildError", path="Dockerfile", line=1, problem="x"),))
    assert fold_other_checks(checks) == checks
