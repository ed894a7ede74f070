"""Compare `forecast` with BuildKit's own inline cache, and read times from the last build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from stagebake.context.folder import ContextFolder
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.inline_cache import stages_run_inline
from tests.support.project import Project
from tests.support.shapes import FIVE, STAGES

CHANGES: Mapping[str, Mapping[str, str]] = {
    "nothing": {},
    "code": {"src/page.ts": "export default 2\n"},
    "requirements": {"requirements.txt": "torch\nnumpy\n"},
    "final stage": {"Dockerfile": FIVE["Dockerfile"].replace("FROM base AS runtime", "FROM base AS runtime\nRUN true")},
}
# The same Dockerfile, but the stage that changes most is copied first
BUILDER_FIRST = FIVE["Dockerfile"].replace(
    "COPY --from=python-deps /python-deps.txt /\nCOPY --from=builder /node-deps.txt /builder.txt /",
    "COPY --from=builder /node-deps.txt /builder.txt /\nCOPY --from=python-deps /python-deps.txt /",
)

SHAPES = {
    "five": FIVE["Dockerfile"],
    "builder-first": BUILDER_FIRST,
    "linked": BUILDER_FIRST.replace("COPY --from", "COPY --link --from"),
}


def state(folder: Path) -> CommitState:
    graph = parse_dockerfile((folder / "Dockerfile").read_text(encoding="utf-8"))
    images = {use.name: ImageInfo(digest="sha256:0", env={}, triggers=()) for s in graph.stages for use in s.images}
    prints = fingerprint_stages(graph, BuildInputs(context=ContextFolder(folder), images=images))
    return CommitState(commit="", graph=graph, prints=prints)


def inline_build(project: Project) -> set[str]:
    """Push once from an empty engine with the inline cache of `docker buildx build`; return the stages that ran."""
    project.engine.empty()
    command = ["docker", "buildx", "build", "--progress=rawjson", "--push", f"--tag={project.image}:latest"]
    command += [f"--build-context={name}={value}" for name, value in project.contexts.items()]
    command += ["--cache-to=type=inline", f"--cache-from=type=registry,ref={project.image}:latest", "."]
    answer = project.engine.run(*command, folder=project.folder, BUILDX_NO_DEFAULT_ATTESTATIONS="1")
    assert answer.returncode == 0, answer.stderr
    return _ran(answer.stderr)


def _ran(events: str) -> set[str]:
    """Return the stages that ran a RUN.

    A restored step comes again, no longer marked as cached, while its layers are pulled.
    """
    documents = (json.loads(line) for line in events.splitlines() if line.startswith("{"))
    done = [v for document in documents for v in document.get("vertexes") or [] if v.get("completed")]
    restored = {vertex["name"] for vertex in done if vertex.get("cached")}
    return {v["name"][1:].split()[0] for v in done if "] RUN " in v["name"] and v["name"] not in restored}


@pytest.mark.parametrize("shape", SHAPES)
def test_forecast_of_an_inline_cache_matches_buildkit(project: Project, shape: str) -> None:
    """Build after each change: BuildKit runs the stages that the forecast names."""
    first = {**FIVE, "Dockerfile": SHAPES[shape]}
    project.write(first)
    seen = {"first": inline_build(project)}
    before = state(project.folder)
    foretold = {"first": set(STAGES)}
    for name, change in CHANGES.items():
        if shape != "five" and "Dockerfile" in change:
            continue
        project.write(change)
        after = state(project.folder)
        foretold[name] = set(stages_run_inline(before, after))
        seen[name] = inline_build(project)
        before = after
    assert seen == foretold


def test_forecast_and_doctor_after_a_build_read_its_times(five: Project) -> None:
    """Read the times of the last build without any flag; doctor lists BuildKit's own checks, too."""
    more = "WORKDIR /app\nMAINTAINER me\nARG GIT_SHA\nRUN mkdir -p /made"
    five.write({"Dockerfile": FIVE["Dockerfile"].replace("WORKDIR /app", more)})
    five.commit()
    five.build()
    told = json.loads(five.stagebake("forecast", "--json").stdout)
    assert set(told["stages"]) == set(STAGES)
    assert all(seconds > 0 for seconds in told["stages"].values())
    found = json.loads(five.stagebake("doctor", "--json").stdout)
    rules = {finding["rule"]: finding for finding in found["findings"]}
    ours = rules["arg-early"]
    assert (ours["stage"], ours["seconds"]) == ("base", told["stages"]["base"])
    (note,) = found["notes"]
    assert note.endswith(f"not about caching, of MaintainerDeprecated (line {ours['line'] - 1})")
