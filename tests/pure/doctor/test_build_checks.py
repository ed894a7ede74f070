"""Read the answer of BuildKit's build checks."""

from __future__ import annotations

import json

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.build_checks import parse_build_checks
from stagebake.doctor.examine import examine_dockerfile
from stagebake.doctor.facts import RepositoryFacts
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
    graph = parse_dockerfile("FROM a@sha256:0\nARG NPM_TOKEN\nMAINTAINER me\n")
    found = examine_dockerfile(graph, RepositoryFacts(), checks)
    assert [(finding.line, finding.rule, finding.origin) for finding in found] == [
        (2, "secret", "stagebake"),
        (3, "MaintainerDeprecated", "BuildKit"),
    ]


@pytest.mark.parametrize("stdout", ["", "no JSON {", '{"error": 1}'])
def test_parse_build_checks_without_answer_raises_last_message(stdout: str) -> None:
    with pytest.raises(EngineError, match="Cannot connect to the Docker daemon"):
        parse_build_checks(stdout, "first\nERROR: Cannot connect to the Docker daemon\n", "Dockerfile")
