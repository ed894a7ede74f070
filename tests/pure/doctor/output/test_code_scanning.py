"""Show findings as workflow commands and as SARIF; `nox -s lint` checks the SARIF of a run against its schema."""

from __future__ import annotations

import json

from stagebake.doctor.finding import Finding
from stagebake.doctor.output.code_scanning import findings_commands, findings_sarif

LINK = Finding(rule="copy-link", path="docker/Dockerfile", line=7, problem="the problem", fix=("COPY --link a b",))
CHECK = Finding(rule="UndefinedVar", path="docker/Dockerfile", line=2, problem="Usage of $X", origin="BuildKit")


def test_findings_commands_name_file_line_problem_and_lines_to_use() -> None:
    assert findings_commands((LINK,), ("a note",), {}) == (
        "::warning file=docker/Dockerfile,line=7::docker/Dockerfile:7: the problem [copy-link]%0A    COPY --link a b\n"
        "::notice::a note\n"
    )


def test_findings_sarif_has_a_result_and_a_rule_for_each_finding() -> None:
    (run,) = json.loads(findings_sarif((LINK, CHECK, LINK), ("a note",), "services/web"))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["UndefinedVar", "copy-link"]
    assert rules[0]["shortDescription"]["text"] == "Usage of $X"
    first, *_, last = run["results"]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"] == "copy-link"
    assert first == last
    assert first["message"]["text"] == "the problem\nCOPY --link a b"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "services/web/docker/Dockerfile"
    assert place["region"]["startLine"] == 7
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == "a note"


def test_findings_sarif_path_is_an_address() -> None:
    finding = Finding(rule="secret", path="my app/Dockerfile", line=1, problem="x")
    assert '"my%20app/Dockerfile"' in findings_sarif((finding,))


def test_findings_sarif_without_findings_has_an_empty_run() -> None:
    (run,) = json.loads(findings_sarif(()))["runs"]
    assert run["results"] == run["tool"]["driver"]["rules"] == []
