"""Run BuildKit's build checks on a Dockerfile: `docker buildx build --call=check`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from typing import Any

from stagebake.build.engine import refuse_hidden_folder
from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.finding import Finding
from stagebake.errors import EngineError
from stagebake.project.settings import Settings

_TIMEOUT = 60.0  # seconds


def run_build_checks(graph: StageGraph, settings: Settings) -> tuple[Finding, ...]:
    """Return the findings of BuildKit's build checks. Raises EngineError where the builder does not answer.

    An empty named context replaces each image, so that the builder does not contact a registry.
    """
    with tempfile.TemporaryDirectory(prefix="stagebake-") as empty:
        command = _build_command(graph, settings, empty)
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _checks_failed(str(error)) from None
        refuse_hidden_folder(answer.stderr, empty)
    return parse_build_checks(answer.stdout, answer.stderr, graph.path)


def parse_build_checks(stdout: str, stderr: str, path: str) -> tuple[Finding, ...]:
    """Return the findings in buildx's JSON. Raises EngineError for any other answer."""
    _, brace, rest = stdout.partition("{")  # warnings of buildx may come before the JSON
    try:
        document = json.loads(brace + rest)
    except ValueError:
        document = {}
    if "warnings" not in document:
        raise _checks_failed(_last_line(stderr) or "no answer")
    warnings = document["warnings"] or ()
    return tuple(_convert_warning(warning, path) for warning in warnings)


def _last_line(text: str) -> str:
    """Return the last line that is not empty."""
    *_, last = ["", *text.strip().splitlines()]
    return last.strip()


def _build_command(graph: StageGraph, settings: Settings, empty_folder: str) -> list[str]:
    command = [
        "docker",
        "buildx",
        "build",
        "--call=check,format=json",
        f"--file={settings.root / settings.dockerfile}",
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
    location = warning.get("location") or {}
    ranges = location.get("ranges") or [{"start": {"line": 1}}]
    url = warning.get("url")
    return Finding(
        rule=warning.get("ruleName", "check"),
        path=path,
        line=ranges[0]["start"]["line"],
        problem=warning.get("detail") or warning.get("description") or "",
        fix=(f"# {url}",) if url else (),
        origin="BuildKit",
    )


def _checks_failed(reason: str) -> EngineError:
    return EngineError(f"BuildKit's build checks did not run: {reason}", "start Docker, and run doctor again")
