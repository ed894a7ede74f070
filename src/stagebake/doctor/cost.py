"""Weigh findings: what each costs at a push, how many of the last pushes paid it, and which come first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Cost, Finding, Frequency
from stagebake.doctor.reading.push_model import PushModel
from stagebake.doctor.reading.subject import Subject
from stagebake.formatting import format_size
from stagebake.transfer.rates import HOSTED_RUNNER, traffic_seconds
from stagebake.transfer.step_layers import LAYER_KEYWORDS, LayeredStep
from stagebake.transfer.step_traffic import RunningSteps, Traffic, foretell_traffic, sum_traffic

# Guess in seconds of what a rule's steps cost, which orders findings where sizes are not known
_GUESSED_SECONDS = {
    "dockerignore": 90.0,
    "copy-before-install": 80.0,
    "chown-after-copy": 70.0,
    "compile-cache": 60.0,
    "heavy-base": 50.0,
    "prune-after-copy": 45.0,
    "arg-early": 40.0,
    "run-after-code": 35.0,
    "cache-mount": 30.0,
    "mount-defeated": 30.0,
    "mount-hides": 30.0,
    "docker-clean": 25.0,
    "copy-link": 20.0,
    "setup-after-code": 15.0,
    "idle-files": 10.0,
}
# Rules about steps that need not run, of which the first line stays, or that need not pull
_NEEDLESS_STEPS = frozenset({"chown-after-copy", "setup-after-code", "prune-after-copy", "run-after-code"})
_NEEDLESS_LATER_STEPS = frozenset({"copy-before-install"})
_NEEDLESS_PULLS = frozenset({"copy-link", "heavy-base"})
# A finding about a step that no push runs again is a note, if it is of one of these rules
_ONLY_IF_RUN = frozenset({
    "apt-update", "cache-mount", "compile-cache", "copy-before-install", "docker-clean", "mount-defeated",
    "mount-hides",
})  # fmt: skip
# Each push runs the steps of these rules, whatever files it changes
_ALWAYS_RUN = frozenset({"arg-early", "dockerignore"})
_SELDOM = 0.05
# Steps that fewer pushes run are run by none, as far as advice goes
_MIN_SHARE = 0.03

StepKey = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class CodePushCost:
    """What a push of code runs and moves; `traffic` is None where no cache says the sizes."""

    steps: int
    all_steps: int
    traffic: Traffic | None


@dataclass(frozen=True)
class Weighing:
    """Dockerfile with its push model, by which findings are weighed."""

    graph: StageGraph
    facts: RepositoryFacts
    model: PushModel

    def weigh_findings(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return the findings with cost and frequency, the most expensive first, then the notes by line."""
        weighed = [self._weigh_finding(finding) for finding in findings]
        return tuple(sorted(weighed, key=self._sort_key))

    def push_cost(self) -> CodePushCost:
        """Return what a push of code runs and moves."""
        makers = [place for place in self.model.places if place.step.instruction.keyword in LAYER_KEYWORDS]
        return CodePushCost(
            steps=len(self.model.code_steps),
            all_steps=len(makers),
            traffic=self._move_steps(self.model.running_steps()) if self.facts.layered else None,
        )

    def saved_by(self, findings: Iterable[Finding]) -> Traffic | None:
        """Return the bytes that a push of code would not move without these findings; None where sizes are unknown."""
        if not self.facts.layered:
            return None
        findings = [finding for finding in findings if not finding.is_note]
        gone = {key for finding in findings for key in self._needless_keys(finding)}
        pulling = [finding for finding in findings if finding.rule in _NEEDLESS_PULLS]
        linked = {key for finding in pulling for key in self._keys(finding)}
        pulled = self._saved(gone | linked, without_layers=linked).pulled
        return Traffic(pulled=pulled, pushed=self._saved(gone).pushed)

    def _weigh_finding(self, finding: Finding) -> Finding:
        keys = self._keys(finding)
        frequency = self.model.frequency(keys) if keys and finding.rule not in _ALWAYS_RUN else None
        is_note = finding.is_note or (finding.rule in _ONLY_IF_RUN and not self._runs_again(keys, frequency))
        return replace(finding, cost=self._cost(finding), frequency=frequency, is_note=is_note)

    def _runs_again(self, keys: frozenset[StepKey], frequency: Frequency | None) -> bool:
        if frequency is not None:
            return frequency.share >= _MIN_SHARE
        return not self.model.context_steps.isdisjoint(keys)

    def _cost(self, finding: Finding) -> Cost:
        if not self.facts.layered or finding.rule not in _NEEDLESS_STEPS | _NEEDLESS_LATER_STEPS | _NEEDLESS_PULLS:
            return Cost(seconds=finding.seconds)
        if finding.rule in _NEEDLESS_PULLS:
            keys = self._keys(finding)
            return Cost(seconds=finding.seconds, pulled=self._saved(keys, without_layers=keys).pulled, pushed=0)
        saved = self._saved(self._needless_keys(finding))
        return Cost(seconds=finding.seconds, pulled=saved.pulled, pushed=saved.pushed)

    def _needless_keys(self, finding: Finding) -> frozenset[StepKey]:
        """Return the steps that would not run at a push of code without the problem."""
        if finding.rule in _NEEDLESS_STEPS:
            return self._keys(finding)
        if finding.rule in _NEEDLESS_LATER_STEPS:
            return self._keys(finding, later_only=True)
        return frozenset()

    def _keys(self, finding: Finding, *, later_only: bool = False) -> frozenset[StepKey]:
        """Return the steps that a finding is about; for an early COPY the installs after it."""
        if finding.origin != "stagebake":
            return frozenset()
        lines = set(finding.lines)
        if not later_only and finding.rule not in _NEEDLESS_LATER_STEPS | {"heavy-base"}:
            lines.add(finding.line)
        return frozenset(place.key for place in self.model.places if place.step.instruction.line in lines)

    def _saved(self, keys: Collection[StepKey], *, without_layers: Collection[StepKey] = ()) -> Traffic:
        """Return the bytes that a push of code, which runs these steps too, would not move without them.

        The layers of the steps `without_layers` are not pulled instead: such a step runs, but needs nothing below.
        """
        running = {name: set(numbers) for name, numbers in self.model.running_steps().items()}
        for stage, number in keys:
            running.setdefault(stage, set()).add(number)
        without = {name: {number for number in running[name] if (name, number) not in keys} for name in running}
        layered = {name: _empty_steps(steps, name, without_layers) for name, steps in self.facts.layered.items()}
        before = self._move_steps(running)
        after = sum_traffic(foretell_traffic(self.graph, layered, without))
        return Traffic(pulled=before.pulled - after.pulled, pushed=before.pushed - after.pushed)

    def _move_steps(self, running: RunningSteps) -> Traffic:
        return sum_traffic(foretell_traffic(self.graph, self.facts.layered, running))

    def _sort_key(self, finding: Finding) -> tuple[bool, float, int, str]:
        seconds = _GUESSED_SECONDS.get(finding.rule, 5.0)
        if finding.cost.pulled is not None and finding.cost.pushed is not None:
            moved = Traffic(pulled=finding.cost.pulled, pushed=finding.cost.pushed)
            seconds = traffic_seconds(moved, HOSTED_RUNNER) + 1.0
        share = max(finding.frequency.share, _SELDOM) if finding.frequency else self._guess_share(finding)
        return finding.is_note, -seconds * share, finding.line, finding.rule

    def _guess_share(self, finding: Finding) -> float:
        is_paid = finding.rule in _ALWAYS_RUN or not self.model.code_steps.isdisjoint(self._keys(finding))
        return 1.0 if is_paid else 0.2


def _empty_steps(
    steps: tuple[LayeredStep, ...],
    stage: str,
    emptied: Collection[StepKey],
) -> tuple[LayeredStep, ...]:
    """Return the steps of a stage, some of them without layers."""
    return tuple(replace(step, layers=()) if (stage, number) in emptied else step for number, step in enumerate(steps))


def weigh(subject: Subject) -> Weighing:
    """Return the scales for the findings in a Dockerfile."""
    return Weighing(subject.graph, subject.facts, subject.model)


def describe_push(cost: CodePushCost, findings: Iterable[Finding], saved: Traffic | None) -> str:
    """Return the first line of doctor: what a push of code moves, and how much of it the findings cause."""
    findings = [finding for finding in findings if not finding.is_note and finding.origin == "stagebake"]
    if cost.traffic is None or saved is None:
        steps = f"{cost.steps} of {cost.all_steps} steps"
        return f"a code-only push runs {steps}; sizes are unknown until a build has saved its caches"
    moved = f"pulls {format_size(cost.traffic.pulled)} and pushes {format_size(cost.traffic.pushed)}"
    causing = [finding for finding in findings if finding.cost.pulled or finding.cost.pushed]
    causing_lines = {finding.line for finding in causing}
    if not causing:
        return f"a code-only push {moved}"
    lines = "1 line below causes" if len(causing_lines) == 1 else f"{len(causing_lines)} lines below cause"
    return f"a code-only push {moved}: {lines} {format_size(saved.pulled)} and {format_size(saved.pushed)} of it"
