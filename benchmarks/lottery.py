"""One build that reads the caches of five stages, and one that reads what stagebake made of them.

Nothing has changed, so no step may run; each build is on an emptied engine. Prints a Markdown table: in how many builds
a step ran all the same, and in which stages. `nox -s bench -- lottery` runs it; it takes some two minutes, as root.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.seed import plain_build
from tests.support.archive import make_busybox
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, Project
from tests.support.registry import Registry
from tests.support.shapes import FIVE, STAGES

BUILDS = 30


def main() -> int:
    """Builds with either, in turn."""
    with repository() as project:
        project.build("--push")
        ways = {
            "`cache-from` of all five": tuple(f"{project.image}:cache-{stage}" for stage in STAGES),
            "`cache-from` of the composed one": (f"{project.image}:cache",),
        }
        ran: dict[str, list[tuple[str, ...]]] = {way: [] for way in ways}
        for _ in range(BUILDS):
            for way, refs in ways.items():
                project.engine.empty()
                stages, _steps = plain_build(project, FIVE["Dockerfile"], refs)
                ran[way].append(stages)
    print("| nothing changed | builds | in which a step ran | what ran |")
    print("|---|---:|---:|---|")
    for way, builds in ran.items():
        print(row(way, builds))
    return 0


def row(way: str, builds: Sequence[tuple[str, ...]]) -> str:
    wrong = [stages for stages in builds if stages]
    counts = Counter(stage for stages in wrong for stage in stages)
    what = ", ".join(f"`{stage}` {counts[stage]} times" for stage in STAGES if stage in counts)
    return f"| {way} | {len(builds)} | {len(wrong)} | {what} |"


@contextmanager
def repository() -> Iterator[Project]:
    """A repository with the five stages, an engine, and an empty registry."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp")))  # a short path
        engine = Engine(folder / "engine", folder, (make_busybox(BUSYBOX, folder),))
        stack.callback(engine.stop)
        registry = Registry(folder)
        stack.callback(registry.stop)
        project = Project(folder=folder / "project", name="app", engine=engine, registry=registry)
        project.write(FIVE)
        project.git("init", "--quiet", "--initial-branch=main")
        project.settings()
        project.commit()
        yield project


if __name__ == "__main__":
    sys.exit(main())
