"""Find which steps pushes run."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.reading.context_copies import find_context_copies
from stagebake.doctor.reading.push_model import PushModel, make_push_model

TEXT = """\
FROM node AS deps
COPY package.json ./
RUN npm ci
FROM deps AS build
COPY . .
RUN npm run build
FROM node:slim
RUN apt-get install -y curl
COPY --from=build /app/node_modules /app/node_modules
COPY --from=build /app/dist /app/dist
"""


def make_model(commits: tuple[str, ...] = (), text: str = TEXT) -> PushModel:
    graph = parse_dockerfile(text)
    facts = RepositoryFacts(
        files=frozenset({"package.json", "src/a.ts", "nginx.conf"}),
        commits=tuple(frozenset(changed.split()) for changed in commits),
    )
    return make_push_model(graph, facts, find_context_copies(graph, facts))


def test_make_push_model_without_history_judges_by_the_names_of_files() -> None:
    """A push of code runs no step of `deps`, and does not change the installed packages."""
    model = make_model()
    assert model.code_steps == {("build", 1), ("build", 2), ("stage-2", 3)}
    assert model.frequency(model.code_steps) is None


def test_make_push_model_with_history_counts_the_pushes_of_each_step() -> None:
    model = make_model(("src/a.ts",) * 9 + ("package.json",))
    assert model.pushes == 10
    assert len(model.runs["deps", 2]) == 1
    assert len(model.runs["stage-2", 3]) == 10
    assert ("deps", 2) not in model.code_steps
    frequency = model.frequency([("deps", 2), ("stage-2", 2)])
    assert frequency is not None
    assert (frequency.runs, frequency.pushes, frequency.share) == (1, 10, 0.1)


def test_make_push_model_step_that_no_file_reaches_is_no_context_step() -> None:
    model = make_model()
    assert ("stage-2", 1) not in model.context_steps
    assert ("deps", 2) in model.context_steps


@pytest.mark.parametrize(
    ("copied", "is_code"),
    [(".", True), ("src", True), ("package.json", False), ("nginx.conf", False)],
)
def test_make_push_model_configuration_is_not_code(copied: str, is_code: bool) -> None:
    model = make_model(text=f"FROM a\nCOPY {copied} /x/\n")
    assert bool(model.code_steps) == is_code
