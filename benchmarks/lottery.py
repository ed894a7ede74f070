"""Compare one build that imports the caches of five stages with one that imports the merged cache of stagebake.

Nothing has changed, so no step may run; each build is on an empty engine. A third kind imports the merged cache without
its artificial leaf: it holds the results of two pushes, so it has several leaves. Prints a Markdown table: in how many
builds a step ran in spite of that, and in which stages. `nox -s bench -- lottery` runs it; it takes about three
minutes, as root.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.seed import plain_build
from benchmarks.servers import start_servers
from tests.support.faults import put_blob, put_manifest
from tests.support.project import Project
from tests.support.shapes import FIVE, STAGES

BUILDS = 30


def main() -> int:
    """Build with either kind of import in turn, and print a row for each."""
    with open_project() as project:
        project.build("--push")
        project.write({"src/page.ts": "export default 2\n"})
        project.build("--push")
        imports = {
            "`cache-from` of all five": [f"{project.image}:cache-{stage}" for stage in STAGES],
            "`cache-from` of the merged cache": [f"{project.image}:cache"],
            "the same with several leaves": [push_without_leaf(project)],
        }
        ran: dict[str, list[tuple[str, ...]]] = {name: [] for name in imports}
        for _ in range(BUILDS):
            for name, refs in imports.items():
                project.engine.empty()
                stages, _steps = plain_build(project, FIVE["Dockerfile"], refs)
                ran[name].append(stages)
    print("| nothing changed | builds | in which a step ran | what ran |")
    print("|---|---:|---:|---|")
    for name, builds in ran.items():
        print(render_row(name, builds))
    return 0


def push_without_leaf(project: Project) -> str:
    """Push the merged cache without its artificial leaf, the only record that no other has as input; return its ref."""
    manifest = project.registry.read_manifest(project.name, "cache")
    content: dict[str, Any] = json.loads(project.registry.get(f"{project.name}/blobs/{manifest['config']['digest']}"))
    records = content["records"]
    inputs = {link["link"] for record in records for links in record.get("inputs", ()) for link in links}
    (leaf,) = set(range(len(records))) - inputs
    if records.pop(leaf).keys() & {"layers", "chains"}:
        raise RuntimeError("the merged cache has no artificial leaf")
    for record in records:
        for links in record.get("inputs", ()):
            for link in links:
                link["link"] -= link["link"] > leaf
    config = json.dumps(content).encode()
    manifest["config"] |= {"digest": put_blob(project, config), "size": len(config)}
    put_manifest(project, "several-leaves", manifest, manifest["mediaType"])
    return f"{project.image}:several-leaves"


def render_row(name: str, builds: Sequence[tuple[str, ...]]) -> str:
    wrong = [stages for stages in builds if stages]
    counts: Counter[str] = Counter()
    for stages in wrong:
        counts.update(stages)
    ran = [f"`{stage}` {counts[stage]} times" for stage in STAGES if stage in counts]
    return f"| {name} | {len(builds)} | {len(wrong)} | {', '.join(ran)} |"


@contextmanager
def open_project() -> Iterator[Project]:
    """Yield a repository with the five stages, an engine and an empty registry."""
    with start_servers() as servers:
        project = servers.create_project("app")
        project.write(FIVE)
        project.git("init", "--quiet", "--initial-branch=main")
        project.settings()
        project.commit()
        yield project


if __name__ == "__main__":
    sys.exit(main())
