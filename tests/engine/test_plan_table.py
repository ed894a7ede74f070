"""Plan every single change, then build it on an empty engine: compare the plan, its words, and the stages that ran.

STAGEBAKE_TABLE=all tries all changes; by default the test starts at a random one and stops after a while.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.changes import CHANGES, NOT_CHANGES, Act, edit, file, fill
from tests.support.project import Outcome, Project
from tests.support.shapes import draw

ALL = os.environ.get("STAGEBAKE_TABLE") == "all"
SECONDS = 40.0

MORE: Mapping[str, Act] = {
    "file-emptied": file("src/other.ts", ""),
    "two-files": lambda project: project.write({"src/other.ts": "2\n", "lists/names": "c\n"}),
    "ignored-file-kept-out": file(".dockerignore", "**/*.log\nsrc/other.ts\n"),
    "ignore-file-of-the-dockerfile": file("Dockerfile.dockerignore", "src/other.ts\n**/*.log\n"),
    "copy-elsewhere": edit("COPY src src\n", "COPY src sources\n"),
    "copy-with-a-mode": edit("COPY src src\n", "COPY --chmod=755 src src\n"),
    "copy-linked": edit("COPY src src\n", "COPY --link src src\n"),
    "step-added": edit("COPY src src\n", "COPY src src\nRUN true\n"),
    "env-removed": edit("ENV COLOUR=red\n", ""),
    "workdir": edit("COPY src src\n", "WORKDIR /work\nCOPY src src\n"),
    "shell": edit("COPY <<EOF /motd\n", 'SHELL ["/bin/sh", "-ec"]\nCOPY <<EOF /motd\n'),
    "stage-added": lambda project: [
        edit("FROM base AS image\n", f"FROM base AS more\n{draw('more')}\n\nFROM base AS image\n")(project),
        edit("COPY --from=texts /texts.txt /\n", "COPY --from=texts /texts.txt /\nCOPY --from=more /more.txt /\n")(
            project
        ),
    ],
    "stage-added-that-nothing-takes": edit("FROM base AS files\n", "FROM base AS idle\nRUN true\nFROM base AS files\n"),
    "expose": edit("LABEL version=1\n", "LABEL version=1\nEXPOSE 80\n"),
    "entrypoint": edit("LABEL version=1\n", 'LABEL version=1\nENTRYPOINT ["cat"]\n'),
    "healthcheck": edit("LABEL version=1\n", "LABEL version=1\nHEALTHCHECK CMD true\n"),
    "nothing": lambda _project: None,
}  # fmt: skip

# For each change one stage that it affects, and words of that stage's reason
WORDS: Mapping[str, tuple[str, str]] = {
    "file-content": ("files", "`src/page.ts` changed"),
    "file-mode": ("files", "mode of src/page.ts 644 → 755"),
    "file-renamed": ("files", "`src/index.ts` added"),
    "file-added": ("files", "`src/new.ts` added"),
    "file-removed": ("files", "`src/other.ts` removed"),
    "folder-added": ("files", "`src/empty` added"),
    "link-target": ("files", "`src/link` now points at `elsewhere`"),
    "ignored-file-let-in": ("files", "`.dockerignore` now includes `src/debug.log`"),
    "arg-used": ("options", "ARG OPTION 1 → 2 (line "),
    "arg-declared-and-unused": ("options", "ARG IDLE 1 → 2 (line "),
    "arg-of-settings": ("options", "ARG OPTION 1 → 2 (line "),
    "env": ("options", "ENV COLOUR red → blue (line "),
    "stage-that-came-out-the-same": ("sorted", "`lists/names` changed"),
    "stage-that-came-out-different": ("sorted", "`lists/names` changed"),
    "copied-image-with-new-content": ("hammer", "image example.test/tools:1 moved: sha256:"),
    "base-image-with-new-content": ("base", "base image busybox:1 moved: sha256:"),
    "file-emptied": ("files", "`src/other.ts` -1 line"),
    "two-files": ("sorted", "`lists/names` -1 line"),
    "ignored-file-kept-out": ("files", "`.dockerignore` now excludes `src/other.ts`"),
    "ignore-file-of-the-dockerfile": (
        "files",
        "`.dockerignore` → `Dockerfile.dockerignore` now excludes `src/other.ts`",
    ),
    "env-removed": ("options", "ENV COLOUR removed"),
    "step-added": ("files", "`RUN true` added"),
}
MOVED = {"copied-image-with-new-content", "base-image-with-new-content"}

# Changes that the plan expects to rebuild a stage, but whose result is the same
HARMLESS = {"stage-that-came-out-the-same"}


@dataclass
class Table:
    """Planned stages beside the stages that then ran."""

    rows: list[str] = field(default_factory=list)
    restored_and_ran: list[str] = field(default_factory=list)
    rebuilt_and_restored: dict[str, set[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    wordless: list[str] = field(default_factory=list)

    def add(self, name: str, plan: Mapping[str, Any], outcome: Outcome) -> None:
        expected = {stage["name"]: stage["expected"] for stage in plan["stages"]}
        said = {n for n, verdict in expected.items() if verdict == "rebuild"}
        self.rows.append(f"{name}: planned {listed(said)}; ran {listed(outcome.ran)}; {reasons(plan['stages'])}")
        self.restored_and_ran += [f"{name}: {s}" for s in outcome.ran if expected[s] == "restore"]
        self.unknown += [f"{name}: {s}" for s, verdict in expected.items() if verdict == "unknown"]
        if said - outcome.ran:
            self.rebuilt_and_restored[name] = said - outcome.ran
        print(" ", self.rows[-1], flush=True)
        if name in WORDS:
            stage, words = WORDS[name]
            for where, stages in (("plan", plan["stages"]), ("build", outcome.report["stages"])):
                if words not in reasons([s for s in stages if s["name"] == stage]):
                    self.wordless.append(f"{name}: the {where} says {reasons(stages)}")


def listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def reasons(stages: list[dict[str, Any]]) -> str:
    return "; ".join(reason["what"] for stage in stages for reason in stage["reasons"] if reason["kind"] != "parent")


def test_plan_of_each_change_never_restores_a_stage_that_then_runs(project: Project) -> None:
    """Make each change alone: the plan's reason names it, and a stage rebuilt in vain had the same result."""
    wide = project.hosting("first")
    fill(wide)
    wide.build("--push", WORD="one")
    wide.git("checkout", "--quiet", "--detach")
    wide.git("tag", "start")
    single: dict[str, Act] = {name: change.act for name, change in CHANGES.items()}
    changes = {**single, **NOT_CHANGES, **MORE}
    table, end = Table(), time.monotonic() + SECONDS
    names = list(changes)
    start = 0 if ALL else random.randrange(len(names))
    for name in names[start:] + names[:start]:
        if not ALL and time.monotonic() > end:
            break
        tried(table, name, changes[name], wide)
    show(table, len(changes))
    assert not table.restored_and_ran
    assert not table.unknown
    assert not table.wordless, "\n".join(table.wordless)
    assert table.rebuilt_and_restored.keys() <= HARMLESS, table.rebuilt_and_restored


def tried(table: Table, name: str, act: Act, project: Project) -> None:
    """Plan and build one change, starting from the sources of the first push."""
    project.git("checkout", "--quiet", "--force", "start")
    project.git("clean", "--quiet", "--force", "-d", "-x")
    act(project)
    if name in MOVED:
        project = project.hosting(name)
        project.settings('secrets = ["id=token,env=WORD"]\n')
    project.engine.docker("buildx", "prune", "--all", "--force")
    flags = ("--push", f"--image={project.image}:latest")
    planned = project.stagebake("plan", *flags, "--json", WORD="one")
    assert planned.exit_code == 0, planned.stderr
    table.add(name, json.loads(planned.stdout), project.release(WORD="one"))


def show(table: Table, count: int) -> None:
    print(f"\n{len(table.rows)} of {count} changes")
    print(f"restore planned and ran: {len(table.restored_and_ran)}")
    print(f"rebuild planned and restored: {sum(map(len, table.rebuilt_and_restored.values()))}", end=" ")
    print(table.rebuilt_and_restored)
