"""Show findings to programs: as GitHub's workflow commands, and as SARIF for code scanning.

SARIF 2.1.0: docs.oasis-open.org/sarif/sarif/v2.1.0. What GitHub reads of it: docs.github.com, "SARIF support for code
scanning".
"""

from __future__ import annotations

import importlib.metadata
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from stagebake.ci.github_run import workflow_command
from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.edit import Edit, describe_fix
from stagebake.doctor.output.rule_summaries import RULE_SUMMARIES
from stagebake.formatting import json_document

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def findings_commands(findings: Iterable[Finding], notes: Iterable[str], environment: Mapping[str, str]) -> str:
    """Return a workflow command for each finding and note, which GitHub shows beside the line of the Dockerfile."""
    lines = []
    for finding in findings:
        message = f"{finding.path}:{finding.line}: {finding.problem} [{finding.rule}]"
        text = "\n".join((message, *(f"    {line}" for line in finding.fix)))
        kind = "notice" if finding.is_note else "warning"
        lines.append(workflow_command(kind, text, environment))
    lines += [workflow_command("notice", note, environment) for note in notes]
    return "".join(f"{line}\n" for line in lines)


def findings_sarif(findings: Iterable[Finding], notes: Iterable[str] = (), folder: str = "") -> str:
    """Return the findings as SARIF; `folder` is where their paths start, relative to the repository."""
    shown = tuple(findings)
    names = sorted({finding.rule for finding in shown})
    driver = {
        "name": "stagebake doctor",
        "version": importlib.metadata.version("stagebake"),
        "informationUri": "https://pypi.org/project/stagebake/",
        "rules": [_describe_rule(name, shown) for name in names],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": [*map(_describe_note, notes)]}],
        "results": [_describe_result(finding, names, folder) for finding in shown],
    }
    return json_document({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _describe_rule(name: str, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Return the rule of a finding; what is no rule of stagebake is described by its first finding."""
    first = next(finding for finding in findings if finding.rule == name)
    summary = RULE_SUMMARIES.get(name, first.problem)
    return {"id": name, "name": name, "shortDescription": {"text": summary}}


def _describe_note(note: str) -> dict[str, Any]:
    return {"level": "note", "message": {"text": note}}


def _describe_result(finding: Finding, names: list[str], folder: str) -> dict[str, Any]:
    text = "\n".join((finding.problem, *finding.fix))
    place: dict[str, Any] = {
        "artifactLocation": _describe_file(finding, folder),
        "region": {"startLine": max(finding.line, 1)},
    }
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": "note" if finding.is_note else "warning",
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
    if finding.edit is not None:
        result["fixes"] = [_describe_edit(finding.edit, place["artifactLocation"])]
    return result


def _describe_edit(edit: Edit, file: dict[str, str]) -> dict[str, Any]:
    """Return an edit as a fix; a region from one line to the start of the next has whole lines."""
    replacements = []
    for part in edit.replacements:
        region = {"startLine": part.first, "startColumn": 1, "endLine": part.last + 1, "endColumn": 1}
        text = "".join(f"{line}\n" for line in part.lines)
        replacements.append({"deletedRegion": region, "insertedContent": {"text": text}})
    change = {"artifactLocation": file, "replacements": replacements}
    return {"description": {"text": describe_fix(edit)}, "artifactChanges": [change]}


def _describe_file(finding: Finding, folder: str) -> dict[str, str]:
    path = posixpath.normpath(posixpath.join(folder, finding.path))
    return {"uri": quote(path), "uriBaseId": "%SRCROOT%"}
