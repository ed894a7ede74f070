"""Edits of any Dockerfile end, and leave one that BuildKit accepts as before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.propose import attach_edits, propose_edits
from stagebake.doctor.proof.document import Document
from tests.support.fix_cases import CASES
from tests.support.fixes import fix_text

DOCKERFILES = sorted((Path(__file__).parents[2] / "dockerfiles").glob("*.Dockerfile"))

# Instructions of a final stage, many of which an edit changes, in any order
_LINES = st.sampled_from([
    "WORKDIR /app", "WORKDIR /data", "WORKDIR inner", "ENV DIR=/app/x", "ARG WHO", "USER web", "USER root",
    "COPY . .", "COPY --from=build /src /app", "COPY --chown=web --from=build /src/out/ $DIR/", "COPY a \\\n  # b\n  c",
    "COPY --link --chown=1:2 site /srv/site/", "ADD x.tgz /x", "COPY <<EOF /text\nRUN x && chown -R a:b /app\nEOF",
    "RUN chown -R web:web /app", "RUN chown -R 1:2 $DIR && chmod 755 /app", "RUN chmod -R 755 \\\n  . && ./test",
    "RUN mkdir -p /app/logs $DIR", "RUN useradd -u 5 web && \\\n  # why\n  mkdir /home/x", "RUN npm prune --omit=dev",
    "RUN rm -rf /app/tests && a || b", "RUN ln -s /app /y", "RUN apt-get update && apt-get install -y x", "# y",
    "RUN <<EOF\nchown -R a:b /app\nEOF", "LABEL a=b", "", "ONBUILD RUN chown -R a:b /app",
    "RUN --network=none rm -f /app/z",
])  # fmt: skip
_BUILD = "FROM a AS build\nWORKDIR /src\nCOPY . .\nRUN make out/\n\n"


@given(st.lists(_LINES, max_size=12), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_fix_text_of_any_stage_parses_and_changes_nothing_the_second_time(
    lines: list[str], unsafe: bool, carriage: bool
) -> None:
    text = "\n".join(["FROM node:22", *lines, ""])
    text = f"{_BUILD}{text}"
    if carriage:
        text = text.replace("\n", "\r\n")
    fixed, edits = fix_text(text, files=["site/a", "a", "c"], unsafe=unsafe)
    assert fix_text(fixed, files=["site/a", "a", "c"], unsafe=unsafe) == (fixed, [])
    before, after = parse_dockerfile(text), parse_dockerfile(fixed)
    assert before.names == after.names
    assert (fixed == text) is not bool(edits)
    assert fixed.count("\r\n") == (fixed.count("\n") if carriage else 0)
    for keyword in ("ENV", "ARG", "USER", "LABEL", "ADD", "ONBUILD", "COPY"):
        assert count_keyword(before, keyword) == count_keyword(after, keyword)


def count_keyword(graph: object, keyword: str) -> int:
    stages = graph.stages  # type: ignore[attr-defined]
    return sum(instruction.keyword == keyword for stage in stages for instruction in stage.instructions)


@pytest.mark.parametrize("path", DOCKERFILES, ids=[path.stem for path in DOCKERFILES])
@pytest.mark.parametrize("unsafe", [False, True])
def test_fix_text_of_the_corpus_ends(path: Path, unsafe: bool) -> None:
    text = path.read_text(encoding="utf-8")
    fixed, _ = fix_text(text, unsafe=unsafe)
    assert fix_text(fixed, unsafe=unsafe) == (fixed, [])


@pytest.mark.parametrize("name", CASES)
def test_fix_text_of_the_engine_cases_applies_or_not(name: str) -> None:
    case = CASES[name]
    _, edits = fix_text(case.dockerfile, files=case.files, unsafe=case.unsafe)
    assert bool(edits) is not case.kept


def test_attach_edits_gives_a_finding_the_edit_of_its_rule_and_line() -> None:
    text = "FROM a AS b\nFROM debian\nCOPY --from=b /x /x\nRUN mkdir -p /data\n"
    edits = propose_edits(Document(text=text, graph=parse_dockerfile(text)))
    assert [edit.is_safe for edit in edits] == sorted((edit.is_safe for edit in edits), reverse=True)
    rules = ("setup-after-code", "secret")
    found = attach_edits([Finding(rule=rule, path="Dockerfile", line=4, problem="x") for rule in rules], edits)
    assert [finding.edit is not None for finding in found] == [True, False]
