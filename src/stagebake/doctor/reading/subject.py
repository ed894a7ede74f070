"""Hold what the rules examine: a Dockerfile, facts about its repository, and what is read from both only once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.reading.context_copies import ContextCopy, find_context_copies
from stagebake.doctor.reading.final_tail import FinalTail, read_tail
from stagebake.doctor.reading.push_model import PushModel, make_push_model


@dataclass(frozen=True)
class Subject:
    """Dockerfile and facts about its repository."""

    graph: StageGraph
    facts: RepositoryFacts

    @cached_property
    def copies(self) -> tuple[ContextCopy, ...]:
        """Return the instructions that take files of the build context."""
        return tuple(find_context_copies(self.graph, self.facts))

    @cached_property
    def model(self) -> PushModel:
        """Return which steps the last pushes ran, and which ones a push of code runs."""
        return make_push_model(self.graph, self.facts, self.copies)

    @cached_property
    def tail(self) -> FinalTail:
        """Return the end of the final stage, from the first COPY on that code changes."""
        return read_tail(self.graph, self.model)
