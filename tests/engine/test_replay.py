"""Push the commits of a history like a team's, one after the other: compare each plan with the stages that ran.

STAGEBAKE_REPLAY=100 replays 100 of them; by default the test stops after a while. Every push runs on an empty engine
and saves its caches.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support.project import Project
from tests.support.shapes import FIVE, draw

COMMITS = int(os.environ.get("STAGEBAKE_REPLAY", "0"))
SECONDS = 20.0

FILES = {
    **FIVE,
    "Dockerfile": FIVE["Dockerfile"]
    .replace("COPY requirements.txt .", "ARG PYTHON=11\nCOPY requirements.txt .")
    .replace("COPY src src", "ARG MODE=fast\nCOPY src src"),
    ".dockerignore": "**/*.md\n.git\n",
    "README.md": "one\n",
    **{f"src/part{number}/index.ts": "export {}\n" for number in range(8)},
}

Commit = Callable[[Project, random.Random], None]


def code(project: Project, chance: random.Random) -> None:
    project.write({f"src/part{chance.randrange(8)}/index.ts": f"export const value = {chance.random()}\n"})


def new_file(project: Project, chance: random.Random) -> None:
    project.write({f"src/part{chance.randrange(8)}/{chance.randrange(10**6)}.ts": "export {}\n"})


def removed_file(project: Project, chance: random.Random) -> None:
    added = sorted(path for path in project.folder.glob("src/part*/*.ts") if path.name != "index.ts")
    if added:
        chance.choice(added).unlink()


def text(project: Project, chance: random.Random) -> None:
    project.write({"README.md": f"{chance.random()}\n"})


def packages(project: Project, chance: random.Random) -> None:
    project.write({"package-lock.json": json.dumps({"version": chance.random()}) + "\n"})


def wheels(project: Project, chance: random.Random) -> None:
    project.write({"requirements.txt": f"torch=={chance.randrange(10**6)}\n"})


def mode(project: Project, chance: random.Random) -> None:
    path = project.folder / f"src/part{chance.randrange(8)}/index.ts"
    path.chmod(path.stat().st_mode ^ 0o111)


def argument(project: Project, chance: random.Random) -> None:
    name = chance.choice(["PYTHON", "MODE"])
    lines = (project.folder / "Dockerfile").read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [f"ARG {name}={chance.randrange(100)}\n" if line.startswith(f"ARG {name}=") else line for line in lines]
    project.write({"Dockerfile": "".join(changed)})


def comment(project: Project, chance: random.Random) -> None:
    dockerfile = (project.folder / "Dockerfile").read_text(encoding="utf-8")
    project.write({"Dockerfile": f"# {chance.random()}\n{dockerfile}"})


def step(project: Project, chance: random.Random) -> None:
    stage = chance.choice(["builder", "runtime", "python-deps"])
    dockerfile = (project.folder / "Dockerfile").read_text(encoding="utf-8")
    project.write({"Dockerfile": dockerfile.replace(draw(stage), f"RUN : {chance.random()}\n{draw(stage)}")})


def base(project: Project, chance: random.Random) -> None:
    dockerfile = (project.folder / "Dockerfile").read_text(encoding="utf-8")
    project.write({"Dockerfile": dockerfile.replace(draw("base"), f"RUN : {chance.random()}\n{draw('base')}")})


def ignored(project: Project, chance: random.Random) -> None:
    project.write({".dockerignore": f"**/*.md\n.git\nsrc/part{chance.randrange(8)}/\n"})


def revert(project: Project, _chance: random.Random) -> None:
    """Take back the last commit."""
    commits = project.engine.run("git", "rev-list", "--count", "HEAD", folder=project.folder).stdout
    if int(commits) > 1:
        project.git("checkout", "--quiet", "HEAD~1", "--", ".")


def nothing(_project: Project, _chance: random.Random) -> None:
    """Commit no change: a release, or a change outside the image."""


# Weights of the random choice
HISTORY: dict[Commit, int] = {
    code: 40, text: 10, new_file: 8, removed_file: 4, packages: 9, wheels: 5, argument: 4, comment: 3, step: 4, base: 1,
    ignored: 2, mode: 2, revert: 6, nothing: 2,
}  # fmt: skip


@dataclass
class Count:
    """Stages by what was planned and what became of them. Each push is printed: a long replay can be watched."""

    pushes: int = 0
    stages: dict[tuple[str, str], int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    vain: list[str] = field(default_factory=list)

    def add(self, where: str, planned: dict[str, str], became: dict[str, str]) -> None:
        self.pushes += 1
        print(where, *(f"{stage}: {expected}, {became[stage]};" for stage, expected in planned.items()), flush=True)
        for stage, expected in planned.items():
            pair = (expected, became[stage])
            self.stages[pair] = self.stages.get(pair, 0) + 1
            if pair == ("restore", "rebuilt"):
                self.wrong.append(f"{where}: {stage}")
            if pair == ("rebuild", "restored"):
                self.vain.append(f"{where}: {stage}")


def drawn(chance: random.Random) -> Iterator[Commit]:
    while True:
        yield from chance.choices(list(HISTORY), weights=list(HISTORY.values()))


def test_plan_of_each_push_in_a_history_never_restores_a_stage_that_runs(project: Project) -> None:
    """Replay the history: at most every tenth push rebuilds a stage in vain, and no stage is unknown."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    replay = project.hosting("first")
    replay.write(FILES)
    replay.settings()
    replay.commit()
    replay.build("--push")
    count, start = Count(), time.monotonic()
    for commit in drawn(chance):
        if count.pushes >= COMMITS and (COMMITS or time.monotonic() - start > SECONDS):
            break
        commit(replay, chance)
        replay.git("add", "--all")
        replay.git("-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "--quiet", "--allow-empty", "-m", "work")
        pushed(count, f"seed {seed}, commit {count.pushes} ({commit.__name__})", replay)
    seconds = time.monotonic() - start
    print(f"\nreplay: {count.pushes} pushes in {seconds:.0f} s (seed {seed})")
    for (expected, became), number in sorted(count.stages.items()):
        print(f"  planned {expected}, {became}: {number}")
    print(f"  in vain: {count.vain}")
    assert not count.wrong
    assert not [pair for pair in count.stages if pair[0] == "unknown"]
    assert len(count.vain) <= count.pushes / 10


def pushed(count: Count, where: str, project: Project) -> None:
    project.engine.docker("buildx", "prune", "--all", "--force")
    planned = project.stagebake("plan", "--push", "--json")
    assert planned.exit_code == 0, planned.stderr
    expected = {stage["name"]: stage["expected"] for stage in json.loads(planned.stdout)["stages"]}
    outcome = project.build("--push")
    count.add(where, expected, {stage["name"]: stage["status"] for stage in outcome.report["stages"]})
