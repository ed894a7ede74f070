"""Propose the edits for a Dockerfile, and give each finding its edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from stagebake.dockerfile.stages import Stage
from stagebake.doctor.finding import Finding
from stagebake.doctor.fixes.cache_mounts import propose_mounts
from stagebake.doctor.fixes.edit import Edit
from stagebake.doctor.fixes.link_copies import propose_links
from stagebake.doctor.fixes.made_in_stage import propose_tasks
from stagebake.doctor.fixes.move_up import propose_moves
from stagebake.doctor.fixes.set_modes import propose_modes
from stagebake.doctor.proof.document import Document

Proposer = Callable[[Document, Stage], Iterator[Edit]]

# For the final stage. What moves up comes before what then stays at the end
PROPOSERS: tuple[Proposer, ...] = (propose_moves, propose_modes, propose_tasks, propose_links)
# For each stage that is built
STAGE_PROPOSERS: tuple[Proposer, ...] = (propose_mounts,)


def propose_edits(document: Document) -> tuple[Edit, ...]:
    """Return the edits, safe ones first; each is for the Dockerfile as it is, so only one can be applied at a time."""
    edits: list[Edit] = []
    for propose in PROPOSERS:
        edits += propose(document, document.graph.final)
    for stage in document.graph.needed_stages():
        for propose in STAGE_PROPOSERS:
            edits += propose(document, stage)
    return tuple(sorted(edits, key=lambda edit: not edit.is_safe))


def attach_edits(findings: Iterable[Finding], edits: tuple[Edit, ...]) -> tuple[Finding, ...]:
    """Return the findings with the first edit that removes the problem of each."""
    attached = []
    for finding in findings:
        lines = {finding.line}
        edit = next((each for each in edits if each.is_for(finding.rule, lines)), None)
        attached.append(replace(finding, edit=edit))
    return tuple(attached)
