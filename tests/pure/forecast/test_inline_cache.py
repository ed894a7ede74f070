"""Stages that run with an inline cache, compared with other strategies."""

from __future__ import annotations

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.inline_cache import stages_run_inline
from tests.pure.forecast.states import run_change, same_for_all_caches
from tests.support.shapes import FIVE, STAGES


def state_without_context(dockerfile: str) -> CommitState:
    graph = parse_dockerfile(dockerfile)
    inputs = BuildInputs(context=None)
    prints = fingerprint_stages(graph, inputs)
    return CommitState(commit="c", graph=graph, prints=prints)


def test_inline_cache_after_a_change_of_code_runs_the_sources_of_the_builder() -> None:
    """Run node-deps, too, because the inline cache has no layers of it; python-deps is copied before the change."""
    last = run_change(FIVE, src_page_ts="2")
    assert last["type=inline, last image"] == {"node-deps", "builder", "runtime"}
    assert last["one mode=max ref"] == last["stagebake"] == {"builder", "runtime"}


def test_inline_cache_after_a_change_of_requirements_runs_all_later_sources() -> None:
    last = run_change(FIVE, requirements_txt="numpy")
    assert last["type=inline, last image"] == {"python-deps", "node-deps", "builder", "runtime"}
    assert last["stagebake"] == {"python-deps", "runtime"}


def test_inline_cache_restores_a_linked_copy_that_did_not_change() -> None:
    dockerfile = FIVE["Dockerfile"].replace("COPY --from", "COPY --link --from")
    linked = {**FIVE, "Dockerfile": dockerfile}
    last = run_change(linked, requirements_txt="numpy")
    assert last["type=inline, last image"] == {"python-deps", "runtime"}
    last = run_change(linked, src_page_ts="2")
    assert last["type=inline, last image"] == {"node-deps", "builder", "runtime"}


def test_inline_cache_after_a_change_in_the_last_line_runs_no_sources() -> None:
    dockerfile = FIVE["Dockerfile"] + "RUN true\n"
    last = run_change(FIVE, Dockerfile=dockerfile)
    assert last == same_for_all_caches({"runtime"})


def test_inline_cache_after_a_change_of_the_lowest_stage_runs_all_stages() -> None:
    dockerfile = FIVE["Dockerfile"].replace("WORKDIR /app", "RUN true")
    last = run_change(FIVE, Dockerfile=dockerfile)
    assert last == same_for_all_caches(set(STAGES))


def test_inline_cache_after_a_new_build_argument_counts_from_the_next_run() -> None:
    """Restore the COPY between the ARG and the RUN."""
    text = (
        "FROM a AS tools\nRUN t\nFROM a AS more\nRUN m\nFROM a AS app\nARG VERSION={}\n"
        "COPY --from=tools /t /t\nRUN x\nCOPY --from=more /m /m\n"
    )
    last = state_without_context(text.format(1))
    state = state_without_context(text.format(2))
    assert stages_run_inline(last, state) == {"more", "app"}
