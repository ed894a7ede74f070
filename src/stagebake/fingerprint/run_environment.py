"""Track the environment of a stage while its Dockerfile is read: variables, and parts that wait for a RUN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import StageGraph
from stagebake.dockerfile.variables import declared_args, expand_heredoc, expand_word, hide_secret, is_hidden
from stagebake.fingerprint.model import Part, PartKind

# moby/buildkit, util/system/path.go: the PATH of a stage whose image sets none
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(kw_only=True)
class RunEnvironment:
    """Environment of the next step of a stage.

    `variables` are the values that words expand to, `exported` those of ENV among them, which a stage that starts from
    this one sets again. `complete` is False if the variables of the image are unknown; words then keep the variables
    that are not set. `pending` are the parts of ARG, ENV, SHELL and USER that count only if a RUN follows.
    """

    graph: StageGraph
    variables: dict[str, str] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)
    pending: list[Part] = field(default_factory=list)
    complete: bool = True

    def start_empty(self) -> None:
        """Start from scratch."""
        self.variables["PATH"] = _DEFAULT_PATH

    def start_from_image(self, env: Mapping[str, str] | None) -> None:
        """Start from an image with these variables, None for unknown ones."""
        if env is None:
            self.complete = False
            return
        self.exported = {name: hide_secret(name, value) for name, value in env.items()}
        self.variables = {"PATH": _DEFAULT_PATH, **self.exported}

    def start_from_stage(self, parent: RunEnvironment) -> None:
        """Start from another stage, after its last step."""
        self.variables = {**parent.variables, **parent.exported}
        self.exported = dict(parent.exported)
        self.pending = list(parent.pending)
        self.complete = parent.complete

    def declare_args(self, instruction: Instruction) -> None:
        """Set the variables of an ARG."""
        graph = self.graph
        declared = declared_args(instruction, self.variables, graph.variables, graph.args, graph.path)
        for name, value in declared:
            if value is not None:
                hidden = hide_secret(name, value)
                self.variables[name] = hidden
                self.add_pending("arg", name, hidden, instruction.line)

    def assign_variables(self, instruction: Instruction) -> None:
        """Set the variables of an ENV; its values see the environment before the first assignment."""
        assigned: list[tuple[str, str]] = []
        for name, word in instruction.assignments:
            value = self.expand_word(word, instruction)
            assigned.append((name, value))
        for name, value in assigned:
            hidden = hide_secret(name, value)
            self.variables[name] = hidden
            self.exported[name] = hidden
            self.add_pending("env", name, hidden, instruction.line)

    def add_pending(self, kind: PartKind, name: str, value: str, line: int = 0) -> None:
        """Add a part that counts only if a RUN follows."""
        part = Part(kind, name, value, line)
        self.pending.append(part)

    def take_pending(self, prefix: str = "") -> list[Part]:
        """Return and forget the pending parts whose name starts with the prefix: they count from now on."""
        taken: list[Part] = []
        left: list[Part] = []
        for part in self.pending:
            matching = taken if part.name.startswith(prefix) else left
            matching.append(part)
        self.pending = left
        return taken

    def expand_word(self, word: str, instruction: Instruction) -> str:
        """Return a word of an instruction with its variables expanded."""
        return expand_word(
            word,
            self.variables,
            instruction,
            self.graph.path,
            keep_unset=not self.complete,
        )

    def expand_words(self, words: Iterable[str], instruction: Instruction) -> list[str]:
        """Return words of an instruction with their variables expanded."""
        return [self.expand_word(word, instruction) for word in words]

    def expand_heredocs(self, instruction: Instruction) -> list[str]:
        """Return the texts of an instruction's heredocs, with variables expanded where BuildKit does so."""
        texts: list[str] = []
        for text, expands in zip(instruction.heredocs, instruction.expands, strict=True):
            texts.append(self._expand_heredoc(text, instruction) if expands else text)
        return texts

    def has_unknown_value(self, written: str, expanded: str) -> bool:
        """Return True if a word contains a variable that only the image sets, or one whose value is hidden."""
        if "$" not in written:
            return False
        if "$" in expanded:
            return True
        hidden = [value for value in self.variables.values() if is_hidden(value)]
        return any(value in expanded for value in hidden)

    def _expand_heredoc(self, text: str, instruction: Instruction) -> str:
        return expand_heredoc(
            text,
            self.variables,
            instruction,
            self.graph.path,
            keep_unset=not self.complete,
        )
