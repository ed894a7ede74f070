"""Build many times in a row after random changes, each on an empty engine, behind a slow registry.

STAGEBAKE_SOAK=200 builds 200 times; by default the test stops after a few seconds. The value that a stage draws tells
whether the stage ran, whatever the report says.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from stagebake.cache.scopes import GENERATIONS
from tests.support.project import Project
from tests.support.proxy import Fault
from tests.support.shapes import FIVE, STAGES

ROUNDS = int(os.environ.get("STAGEBAKE_SOAK", "0"))
SECONDS = 20.0

FILES = {"python-deps": "requirements.txt", "node-deps": "package-lock.json", "builder": "src/page.ts"}
PARENTS: Mapping[str, tuple[str, ...]] = {
    "base": (),
    "python-deps": ("base",),
    "node-deps": ("base",),
    "builder": ("node-deps",),
    "runtime": ("base", "python-deps", "builder"),
}

Sources = dict[str, str]
Key = tuple[str, str, tuple[str, ...]]
"""A stage, the file that it copies, and the values of the stages below it."""


@dataclass
class Model:
    """Values that an image may hold: a stage runs if and only if its key differs from those of its last runs."""

    newest: dict[Key, str] = field(default_factory=dict)
    runs: dict[str, list[Key]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    seen: set[str] = field(default_factory=set)
    checked: int = 0
    ran: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, sources: Sources, forced: set[str], image: Mapping[str, str]) -> set[str]:
        """Compare the image with what it must hold; return the stages that are new in it."""
        new: set[str] = set()
        for stage in STAGES:
            key = (stage, sources.get(FILES.get(stage, ""), ""), tuple(image[parent] for parent in PARENTS[stage]))
            value, must_run = image[stage], stage in forced or key not in self.newest
            may_run = must_run or key not in self.runs[stage][-GENERATIONS:]
            if value not in self.seen:
                new.add(stage)
                self.runs[stage].append(key)
                self.newest[key] = value
                if not may_run:
                    self.wrong.append(f"{stage} ran and had not to")
            elif must_run:
                self.wrong.append(f"{stage} was to run and is old")
            elif value != self.newest[key]:
                self.wrong.append(f"{stage} holds what belongs to other sources")
        self.seen |= set(image.values())
        self.checked += len(STAGES)
        self.ran += len(new)
        return new


def dependents(stage: str) -> set[str]:
    found = {stage}
    for name in STAGES:
        found |= {name} if found & set(PARENTS[name]) else set()
    return found


def test_push_of_random_changes_runs_exactly_the_stages_that_must_run(shipped: Project) -> None:
    """Change nothing, a file, revert, or force a stage, in any order: each image holds what its sources lead to."""
    seed = random.randrange(10**6)
    chance, delays = random.Random(seed), random.Random()
    model = Model()
    history: list[Sources] = [{file: FIVE[file] for file in FILES.values()}]
    model.check(history[0], set(), shipped.pushed())

    def slow(_method: str, _path: str) -> Fault | None:
        return Fault(delay=delays.uniform(0.02, 0.5)) if delays.random() < 0.1 else None

    start, rounds = time.monotonic(), 0
    while rounds < ROUNDS or (not ROUNDS and time.monotonic() - start < SECONDS):
        rounds += 1
        sources, forced = draw_change(chance, history)
        history.append(sources)
        shipped.write(sources)
        shipped.engine.empty()
        with shipped.registry.proxy.faults(slow):
            outcome = shipped.build("--push", *(("--no-cache", forced) if forced else ()))
        new = model.check(sources, dependents(forced) if forced else set(), shipped.pushed())
        told = [] if outcome.ran == new else [f"the report says {sorted(outcome.ran)}, new are {sorted(new)}"]
        where = f"seed {seed}, round {rounds}, forced {forced}, {sources}"
        assert not model.wrong + told, f"{where}: {model.wrong + told}"
    seconds = time.monotonic() - start
    print(f"\nsoak: {rounds} builds in {seconds:.0f} s (seed {seed}), {model.checked} stages checked,", end=" ")
    print(f"{model.ran} of them new, {len(model.wrong)} wrong")


def draw_change(chance: random.Random, history: list[Sources]) -> tuple[Sources, str]:
    """Return the next sources and the stage to force, if any. Most reverts go to something recent."""
    now = dict(history[-1])
    kind = chance.choice(["nothing", *FILES.values(), FILES["builder"], "revert", "revert", "forced"])
    if kind in now:
        now[kind] = f"{chance.random()}\n"
    elif kind == "revert":
        now = dict(history[-min(len(history), 1 + int(chance.expovariate(0.4)))])
    return now, chance.choice(STAGES) if kind == "forced" else ""
