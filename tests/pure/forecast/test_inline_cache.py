"""Stages that run with an inline cache, compared with other strategies."""

from __future__ import annotations

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.inline_cache import stages_run_inline
from tests.pure.forecast.states import STRATEGY_NAMES, commit_state, run_pushes
from tests.support.shapes import FIVE, STAGES


def test_inline_cache_after_a_change_of_code_runs_the_sources_of_the_builder() -> None:
    """Run node-deps, too, because the inline cache has no layers of it; python-deps is copied before the change."""
    last = run_pushes(commit_state(FIVE), commit_state(FIVE, src_page_ts="2"))[-1]
    assert last["type=inline, last image"] == {"node-deps", "builder", "runtime"}
    assert last["one mode=max ref"] == last["stagebake"] == {"builder", "runtime"}


def test_inline_cache_after_a_change_of_requirements_runs_all_later_sources() -> None:
    last = run_pushes(commit_state(FIVE), commit_state(FIVE, requirements_txt="numpy"))[-1]
    assert last["type=inline, last image"] == {"python-deps", "node-deps", "builder", "runtime"}
    assert last["stagebake"] == {"python-deps", "runtime"}


def test_inline_cache_restores_a_linked_copy_that_did_not_change() -> None:
    linked = {**FIVE, "Dockerfile": FIVE["Dockerfile"].replace("COPY --from", "COPY --link --from")}
    last = run_pushes(commit_state(linked), commit_state(linked, requirements_txt="numpy"))[-1]
    assert last["type=inline, last image"] == {"python-deps", "runtime"}
    last = run_pushes(commit_state(linked), commit_state(linked, src_page_ts="2"))[-1]
    assert last["type=inline, last image"] == {"node-deps", "builder", "runtime"}


def test_inline_cache_after_a_change_in_the_last_line_runs_no_sources() -> None:
    last = run_pushes(commit_state(FIVE), commit_state(FIVE, Dockerfile=FIVE["Dockerfile"] + "RUN true\n"))[-1]
    assert last == {"no cache": set(STAGES), **{way: {"runtime"} for way in STRATEGY_NAMES[1:]}}


def test_inline_cache_after_a_change_of_the_lowest_stage_runs_all_stages() -> None:
    last = run_pushes(
        commit_state(FIVE), commit_state(FIVE, Dockerfile=FIVE["Dockerfile"].replace("WORKDIR /app", "RUN true"))
    )[-1]
    assert last == {key: set(STAGES) for key in STRATEGY_NAMES}


def test_inline_cache_after_a_new_build_argument_counts_from_the_next_run() -> None:
    """Restore the COPY between the ARG and the RUN."""
    text = (
        "FROM a AS tools\nRUN t\nFROM a AS more\nRUN m\nFROM a AS app\nARG VERSION={}\n"
        "COPY --from=tools /t /t\nRUN x\nCOPY --from=more /m /m\n"
    )
    graphs = [parse_dockerfile(text.format(version)) for version in (1, 2)]
    inputs = BuildInputs(context=None)
    pair = [CommitState(commit="c", graph=graph, prints=fingerprint_stages(graph, inputs)) for graph in graphs]
    assert stages_run_inline(*pair) == {"more", "app"}
