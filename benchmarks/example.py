"""The example, built and pushed in the situations that a team lives through, each on an engine that knows nothing.

Prints a Markdown table: what ran, the seconds until the image was out and until its caches were saved, and the bytes
that went through a proxy before a registry of its own. `nox -s bench` runs it; it takes some ten minutes, as root.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.archive import Base
from tests.support.engine import Engine
from tests.support.project import Outcome, Project
from tests.support.registry import Registry

EXAMPLE = Path(__file__).parent.parent / "example"
DEBIAN = "debian:trixie-slim"


@dataclass(frozen=True)
class Situation:
    """What is done before a push: a text put at the end of a file, or a stage that is forced."""

    name: str
    file: str | None = None
    text: str = ""
    forced: str | None = None

    def act(self, project: Project) -> tuple[str, ...]:
        """Does it; returns the flags of the build."""
        if self.file:
            path = project.folder / self.file
            path.write_text(path.read_text(encoding="utf-8") + self.text, encoding="utf-8")
        return ("--no-cache", self.forced) if self.forced else ()


SITUATIONS = (
    Situation("first push, no caches"),
    Situation("nothing changed"),
    Situation("code: `app/page.tsx`", "app/page.tsx", "// changed\n"),
    Situation("npm: `package.json`", "package.json", "\n"),
    Situation("Python: `requirements.txt`", "requirements.txt", "six==1.17.0\n"),
    Situation("`--no-cache python-deps`", forced="python-deps"),
    Situation("nothing changed again"),
)


def main() -> int:
    """Builds all of it once."""
    print("| before the push | ran | until pushed | share of the first push | saving caches | pulled | pushed |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    first = None
    with repository() as project:
        for situation in SITUATIONS:
            project.engine.empty()
            with project.registry.proxy.watched() as seen:
                outcome = project.build("--push", *situation.act(project))
            first = first or outcome.report["seconds"]["ship"]
            sizes = sum(exchange.sent for exchange in seen), sum(exchange.received for exchange in seen)
            print(row(situation.name, outcome, first, *sizes), flush=True)
    return 0


def row(name: str, outcome: Outcome, first: float, pulled: int, pushed: int) -> str:
    ran = ", ".join(stage["name"] for stage in outcome.report["stages"] if stage["status"] == "rebuilt")
    seconds = outcome.report["seconds"]
    share = f"{seconds['ship'] / first:.0%}"
    cells = [name, ran or "nothing", f"{seconds['ship']:.1f} s", share, f"{seconds['save']:.1f} s"]
    return f"| {' | '.join((*cells, f'{pulled / 1e6:.1f} MB', f'{pushed / 1e6:.1f} MB'))} |"


@contextmanager
def repository() -> Iterator[Project]:
    """A repository with the example in it, an engine that knows its base image alone, and an empty registry."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp")))  # a short path
        base = saved_base(folder)
        engine = Engine(folder / "engine", folder, (base,))
        stack.callback(engine.stop)
        registry = Registry(folder)
        stack.callback(registry.stop)
        shutil.copytree(EXAMPLE, folder / "project")
        project = Project(folder=folder / "project", name="example", engine=engine, registry=registry)
        context = json.dumps(f"docker-image://{base.name}")
        settings = f'image = "{project.image}"\nnetwork = "host"\n[contexts]\n"{DEBIAN}" = {context}\n'
        project.write({"stagebake.toml": settings})
        project.git("init", "--quiet", "--initial-branch=main")
        project.commit()
        yield project


def saved_base(folder: Path) -> Base:
    """The base image as `example/debian-image` makes it, taken from the machine's engine."""
    answer = subprocess.run([EXAMPLE / "debian-image"], check=True, stdout=subprocess.PIPE, text=True)
    name, archive = answer.stdout.strip(), folder / "base.tar"
    subprocess.run(["docker", "image", "save", f"--output={archive}", name], check=True)
    return Base(name=name, archive=archive)


if __name__ == "__main__":
    sys.exit(main())
