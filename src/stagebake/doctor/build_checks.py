"""Run BuildKit's build checks on a Dockerfile: `docker buildx build --call=check`."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stagebake.buildkit.engine import refuse_hidden_folder
from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.finding import Finding
from stagebake.errors import EngineError
from stagebake.files import read_exact_text
from stagebake.project.settings import Settings

_TIMEOUT = 60.0  # seconds
# BuildKit's messages about an image that it cannot look up (moby/buildkit, util/resolver and docker-image source)
_NOT_FETCHED = re.compile(r"failed to resolve source metadata for (?P<image>\S+?):? ")
_NO_ENGINE = re.compile(r"Cannot connect|docker daemon|No such file or directory: 'docker'", re.IGNORECASE)
# Checks about what a build restores, or whether it builds at all; the others are about style
# (docs.docker.com/reference/build-checks)
_CACHE_CHECKS = frozenset({
    "BuildError", "CopyIgnoredFile", "DuplicateStageName", "InvalidDefaultArgInFrom", "SecretsUsedInArgOrEnv",
    "UndefinedArgInFrom", "UndefinedVar",
})  # fmt: skip
_SYNTAX_LINE = re.compile(r"^\ufeff?#[ \t]*syntax[ \t]*=.*\n", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class BuildChecks:
    """Findings of BuildKit's build checks, and notes about how they were made."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def run_build_checks(graph: StageGraph, settings: Settings) -> BuildChecks:
    """Return the findings of BuildKit's build checks. Raises EngineError where the builder does not answer.

    An empty named context replaces each image, so that the builder does not contact a registry. Where it cannot fetch
    Docker's frontend of the `# syntax=` line, it checks the Dockerfile with its own one.
    """
    dockerfile = settings.root / settings.dockerfile
    with tempfile.TemporaryDirectory(prefix="stagebake-") as folder:
        answer = _ask_builder(graph, settings, dockerfile, folder)
        syntax = graph.syntax or ""
        if "docker/dockerfile" not in syntax or not _NOT_FETCHED.search(answer.stderr):
            return BuildChecks(parse_build_checks(answer.stdout, answer.stderr, graph.path))
        text = _SYNTAX_LINE.sub("", read_exact_text(dockerfile), count=1)
        copy = Path(folder, "Dockerfile")
        copy.write_bytes(text.encode("utf-8", "surrogateescape"))
        answer = _ask_builder(graph, settings, copy, folder)
    findings = parse_build_checks(answer.stdout, answer.stderr, graph.path)
    moved = tuple(replace(finding, line=finding.line + 1) for finding in findings)  # a line was taken out above
    note = f"the builder could not fetch the frontend `{syntax}`; its own one made the build checks and may know less"
    return BuildChecks(moved, (note,))


def fold_other_checks(checks: BuildChecks, selected: Collection[str] = ()) -> BuildChecks:
    """Return the findings that concern caches or that are `selected`, with one note about all others."""
    kept = []
    lines_by_rule: dict[str, list[int]] = {}
    for finding in checks.findings:
        if finding.rule in _CACHE_CHECKS or finding.rule in selected:
            kept.append(finding)
        else:
            lines_by_rule.setdefault(finding.rule, []).append(finding.line)
    if not lines_by_rule:
        return checks
    listed = [_list_lines(rule, lines) for rule, lines in sorted(lines_by_rule.items())]
    note = f"BuildKit's build checks also warn, not about caching, of {', '.join(listed)}"
    return BuildChecks(tuple(kept), (*checks.notes, note))


def _list_lines(rule: str, lines: Iterable[int]) -> str:
    numbers = [str(line) for line in sorted(set(lines))]
    word = "line" if len(numbers) == 1 else "lines"
    return f"{rule} ({word} {', '.join(numbers)})"


def parse_build_checks(stdout: str, stderr: str, path: str) -> tuple[Finding, ...]:
    """Return the findings in buildx's JSON. Raises EngineError for any other answer.

    The error with which BuildKit refuses the Dockerfile is one of the findings.
    """
    _, brace, rest = stdout.partition("{")  # warnings of buildx may come before the JSON
    try:
        document = json.loads(brace + rest)
    except ValueError:
        document = {}
    if "warnings" not in document:
        raise _checks_failed(_last_line(stderr) or "no answer")
    findings = [_convert_warning(warning, path) for warning in document["warnings"] or ()]
    refusal = document.get("buildError")
    if refusal and not _NOT_FETCHED.search(refusal.get("message", "")):
        findings.append(_convert_refusal(refusal, path))
    return tuple(findings)


def _ask_builder(
    graph: StageGraph,
    settings: Settings,
    dockerfile: Path,
    empty_folder: str,
) -> subprocess.CompletedProcess[str]:
    """Return buildx's answer. Raises EngineError where it does not start or does not end."""
    command = _build_command(graph, settings, dockerfile, empty_folder)
    try:
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _checks_failed(str(error)) from None
    refuse_hidden_folder(answer.stderr, empty_folder)
    return answer


def _last_line(text: str) -> str:
    """Return the last line that is not empty."""
    *_, last = ["", *text.strip().splitlines()]
    return last.strip()


def _build_command(graph: StageGraph, settings: Settings, dockerfile: Path, empty_folder: str) -> list[str]:
    command = [
        "docker",
        "buildx",
        "build",
        "--call=check,format=json",
        f"--file={dockerfile}",
    ]
    if graph.final.target:
        command.append(f"--target={graph.final.target}")
    for name, value in settings.args.items():
        command.append(f"--build-arg={name}={value}")
    images: set[str] = set()
    for stage in graph.stages:
        images.update(image.name for image in stage.images)
    for name in sorted(images):
        command.append(f"--build-context={name}={empty_folder}")
    return [*command, empty_folder]


def _convert_warning(warning: dict[str, Any], path: str) -> Finding:
    """Return the finding of one warning; BuildKit may give it no line and no description."""
    url = warning.get("url")
    return Finding(
        rule=warning.get("ruleName", "check"),
        path=path,
        line=_first_line(warning),
        problem=warning.get("detail") or warning.get("description") or "",
        fix=(f"# {url}",) if url else (),
        origin="BuildKit",
    )


def _convert_refusal(refusal: dict[str, Any], path: str) -> Finding:
    """Return the finding of the error with which BuildKit refuses the Dockerfile."""
    message = refusal.get("message") or "no reason given"
    return Finding(
        rule="BuildError",
        path=path,
        line=_first_line(refusal),
        problem=f"BuildKit refuses this Dockerfile: {message}",
        origin="BuildKit",
    )


def _first_line(record: dict[str, Any]) -> int:
    location = record.get("location") or {}
    ranges = location.get("ranges") or [{"start": {"line": 1}}]
    line: int = ranges[0]["start"]["line"]
    return line


def _checks_failed(reason: str) -> EngineError:
    problem = f"BuildKit's build checks did not run: {reason}"
    if _NO_ENGINE.search(reason):
        return EngineError(problem, "start Docker, and run doctor again")
    fetched = _NOT_FETCHED.search(reason)
    if fetched:
        return EngineError(problem, f"make {fetched['image']} available to the builder, and run doctor again")
    return EngineError(problem, "run `docker buildx build --check .` for the whole message")
