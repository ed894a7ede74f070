"""BuildKit's own checks of a Dockerfile, asked of the builder: `docker buildx build --call=check`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from typing import Any

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.finding import Finding
from stagebake.errors import EngineError
from stagebake.project.settings import Settings

_SECONDS = 60


def run_build_checks(graph: StageGraph, settings: Settings) -> tuple[Finding, ...]:
    """What BuildKit says of the Dockerfile. Raises EngineError where no builder answers.

    An empty folder stands in the place of each image, so that no registry is asked.
    """
    with tempfile.TemporaryDirectory(prefix="stagebake-") as empty:
        command = [
            "docker",
            "buildx",
            "build",
            "--call=check,format=json",
            f"--file={settings.root / settings.dockerfile}",
        ]
        command += [f"--target={graph.final.target}"] if graph.final.target else []
        command += [f"--build-arg={name}={value}" for name, value in settings.args.items()]
        images = {image.name for stage in graph.stages for image in stage.images}
        command += [f"--build-context={name}={empty}" for name in sorted(images)]
        try:
            answer = subprocess.run([*command, empty], capture_output=True, text=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _silent(str(error)) from None
    return parse_build_checks(answer.stdout, answer.stderr, graph.path)


def parse_build_checks(stdout: str, stderr: str, path: str) -> tuple[Finding, ...]:
    """The findings in the answer. Raises EngineError for an answer that is none."""
    start = stdout.find("{")
    try:
        document = json.loads(stdout[start:]) if start >= 0 else {}
    except ValueError:
        document = {}
    if "warnings" not in document:
        last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "no answer")
        raise _silent(last.strip())
    return tuple(_finding(warning, path) for warning in document["warnings"] or ())


def _finding(warning: dict[str, Any], path: str) -> Finding:
    ranges = (warning.get("location") or {}).get("ranges") or [{"start": {"line": 1}}]
    detail = warning.get("detail") or warning.get("description") or ""
    return Finding(
        rule=warning.get("ruleName", "check"),
        path=path,
        line=ranges[0]["start"]["line"],
        what=detail,
        fix=(f"# {warning['url']}",) if warning.get("url") else (),
        origin="BuildKit",
    )


def _silent(why: str) -> EngineError:
    return EngineError(f"BuildKit's own checks were not run: {why}", "start the engine, and run this again")
