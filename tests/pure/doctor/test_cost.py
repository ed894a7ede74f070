"""Weigh findings by bytes and by how many pushes pay them."""

from __future__ import annotations

from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.doctor.examine import describe_code_push, examine_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.reading.subject import Subject
from stagebake.transfer.step_layers import Layer, LayeredStep

TEXT = """\
FROM cuda AS base
FROM base AS build
COPY . .
RUN npm run build
FROM base
WORKDIR /app
COPY --from=build /app /app
RUN chown -R web:web /app
"""
SIZES = {3: 10_000_000, 4: 20_000_000, 7: 900_000_000, 8: 1_000_000_000}


def layer_steps(graph: StageGraph) -> dict[str, tuple[LayeredStep, ...]]:
    """Return steps with layers of these sizes; the base image has 2 GB."""
    layered = {}
    for stage in graph.stages:
        steps = []
        for step in stage.steps:
            line = step.instruction.line
            size = 2_000_000_000 if line == 1 else SIZES.get(line, 0)
            layers = (Layer(f"sha256:{line}", size),) if size else ()
            steps.append(LayeredStep(stage=stage.name, step=step, layers=layers))
        layered[stage.name] = tuple(steps)
    return layered


def make_subject(text: str = TEXT, commits: int = 0) -> Subject:
    graph = parse_dockerfile(text)
    commit = frozenset({"a.ts"})
    facts = RepositoryFacts(files=commit, commits=(commit,) * commits, layered=layer_steps(graph))
    return Subject(graph, facts)


def test_weigh_findings_bytes_order_them() -> None:
    """A second copy of 1 GB is more expensive than what a light base would save."""
    subject = make_subject()
    findings = examine_dockerfile(subject)
    assert findings[0].rule == "chown-after-copy"
    assert findings[0].cost.pushed == 1_000_000_000
    costs = {finding.rule: finding.cost.pulled for finding in findings}
    assert costs["heavy-base"] == 0  # the final stage pulls the same base


def test_describe_code_push_names_the_bytes_and_their_cause() -> None:
    subject = make_subject()
    line = describe_code_push(subject, examine_dockerfile(subject))
    assert line == "a code-only push pulls 2.0 GB and pushes 1.9 GB: 1 line below causes 0 B and 1.0 GB of it"


def test_describe_code_push_without_caches_says_that_sizes_are_unknown() -> None:
    subject = Subject(parse_dockerfile(TEXT), RepositoryFacts())
    line = describe_code_push(subject, examine_dockerfile(subject))
    assert line == "a code-only push runs 4 of 5 steps; sizes are unknown until a build has saved its caches"


def test_weigh_findings_frequency_says_how_many_pushes_ran_the_lines() -> None:
    findings = examine_dockerfile(make_subject(commits=8))
    frequency = next(finding.frequency for finding in findings if finding.rule == "chown-after-copy")
    assert frequency is not None
    assert (frequency.runs, frequency.pushes) == (8, 8)
