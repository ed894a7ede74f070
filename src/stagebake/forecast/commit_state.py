"""Describe the stages of one commit for a forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stagebake.dockerfile.stages import StageGraph
from stagebake.fingerprint.model import Fingerprint

StagePrints = Mapping[str, Fingerprint]


@dataclass(frozen=True, kw_only=True)
class CommitState:
    """Commit with its stages and their fingerprints."""

    commit: str
    graph: StageGraph
    prints: StagePrints

    @cached_property
    def needed_names(self) -> frozenset[str]:
        """Return the names of the stages that the final stage needs."""
        return frozenset(stage.name for stage in self.graph.needed_stages())

    @cached_property
    def needed_digests(self) -> Mapping[str, str]:
        """Return the digest of the fingerprint of each needed stage."""
        return {name: self.prints[name].digest for name in self.needed_names}
