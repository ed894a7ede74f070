"""Compute which stages BuildKit runs when it has only an inline cache: `cache-to: type=inline`, the last image.

An inline cache has the layers of the final stage and of the stages below its FROM. BuildKit restores them up to the
first step that changed. Each later step that takes from another stage needs that stage, which runs completely, together
with the stages that it takes from. A COPY --link does not depend on the layers before it, so it runs only where it
changed itself. `tests/engine/test_forecast.py` compares this with BuildKit.
"""

from __future__ import annotations

from collections.abc import Iterable

from stagebake.dockerfile.stages import Stage, StageGraph, StageStep
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.forecast.commit_state import CommitState, StagePrints

# These parts belong to no step: they count from the next step on
_LEADING_KINDS = ("arg", "env", "platform", "setting")
_STEP_KINDS = ("instruction", "stage", "unknown")
_AFTER_LAST_LINE = 1 << 30


def stages_run_inline(last: CommitState | None, state: CommitState) -> frozenset[str]:
    """Return the stages that run for this commit with the inline cache of the last one, if there is one."""
    if last is None:
        return state.needed_names
    restored: set[str] = set()
    chain = final_chain(state.graph)
    for position, stage in enumerate(chain):
        old = last.prints.get(stage.name)
        new = state.prints[stage.name]
        line = first_changed_line(old, new)
        if line is not None:
            running = chain[position:]
            return _run_from_line(state, running, line, restored, last.prints)
        restored.add(stage.name)
    return frozenset()


def final_chain(graph: StageGraph) -> list[Stage]:
    """Return the final stage and the stages below its FROM, the lowest one first."""
    chain = [graph.final]
    parents = _source_stages(graph.final.steps[0])
    while parents:
        parent = graph[parents[0]]
        chain.insert(0, parent)
        parents = _source_stages(parent.steps[0])
    return chain


def _source_stages(step: StageStep) -> list[str]:
    return [source for source in step.sources if isinstance(source, str)]


def first_changed_line(old: Fingerprint | None, new: Fingerprint) -> int | None:
    """Return the line of the first step with a changed part, or None if nothing changed."""
    if old is not None and old.digest == new.digest:
        return None
    old_parts = _compared_parts(old) if old else []
    new_parts = _compared_parts(new)
    position = _first_difference(old_parts, new_parts)
    for part in new_parts[position:]:
        if part.kind not in _LEADING_KINDS:
            return part.line
    return _AFTER_LAST_LINE


def _compared_parts(fingerprint: Fingerprint) -> list[Part]:
    return [part for part in fingerprint.parts if part.kind != "ignore"]


def _first_difference(old: list[Part], new: list[Part]) -> int:
    for position, part in enumerate(new):
        if position == len(old):
            return position
        if old[position].identity != part.identity:
            return position
    return len(new)


def _run_from_line(
    state: CommitState,
    running: list[Stage],
    line: int,
    restored: set[str],
    last_prints: StagePrints,
) -> frozenset[str]:
    """Return these stages, which run from that line on, and every stage that has to run for them."""
    known = _part_identities(last_prints)
    ran = {stage.name for stage in running}
    for stage in running:
        changed = _changed_lines(state.prints[stage.name], known)
        for step in stage.steps:
            step_line = step.instruction.line
            is_linked = step.instruction.has_switch("link")
            is_restored = is_linked and step_line not in changed
            if step_line >= line and not is_restored:
                _add_sources(state.graph, _source_stages(step), ran, restored)
    return frozenset(ran)


def _part_identities(prints: StagePrints) -> set[object]:
    identities: set[object] = set()
    for fingerprint in prints.values():
        for part in fingerprint.parts:
            if part.kind != "file":
                identities.add(part.identity)
    return identities


def _changed_lines(fingerprint: Fingerprint, known: set[object]) -> set[int]:
    """Return the lines of the steps with a part that is not known from the last commit."""
    lines: set[int] = set()
    for part in fingerprint.parts:
        is_known = part.identity in known
        if part.kind in _STEP_KINDS and not is_known:
            lines.add(part.line)
    return lines


def _add_sources(
    graph: StageGraph,
    sources: Iterable[str],
    ran: set[str],
    restored: set[str],
) -> None:
    """Add the sources, and the stages that they take from in turn, to the stages that run."""
    for name in sources:
        if name in ran or name in restored:
            continue
        ran.add(name)
        parents = graph[name].parents
        _add_sources(graph, parents, ran, restored)
