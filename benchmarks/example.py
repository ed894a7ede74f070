"""Build and push the example in the situations of a team, each on an empty engine.

Prints a Markdown table: what ran, the seconds until the image was pushed and for saving the caches, and the bytes that
passed a proxy in front of the registry. `nox -s bench` runs it; it takes about ten minutes, as root.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import start_servers
from tests.support.archive import Base
from tests.support.project import Outcome, Project

EXAMPLE = Path(__file__).parent.parent / "example"
DEBIAN = "debian:trixie-slim"


@dataclass(frozen=True)
class Situation:
    """Change before a push: a text to append to a file, or a stage to force."""

    name: str
    file: str | None = None
    text: str = ""
    forced: str | None = None

    def apply_change(self, project: Project) -> tuple[str, ...]:
        """Apply the change; return the flags of the build."""
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
    """Build each situation once, and print a row for it."""
    print("| before the push | ran | until pushed | share of the first push | saving caches | pulled | pushed |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    first = None
    with open_example() as project:
        for situation in SITUATIONS:
            project.engine.empty()
            with project.registry.proxy.watched() as seen:
                outcome = project.build("--push", *situation.apply_change(project))
            first = first or outcome.report["seconds"]["ship"]
            pulled = sum(exchange.sent for exchange in seen)
            pushed = sum(exchange.received for exchange in seen)
            print(render_row(situation.name, outcome, first, pulled, pushed), flush=True)
    return 0


def render_row(name: str, outcome: Outcome, first: float, pulled: int, pushed: int) -> str:
    ran = [stage["name"] for stage in outcome.report["stages"] if stage["status"] == "rebuilt"]
    ship = outcome.report["seconds"]["ship"]
    save = outcome.report["seconds"]["save"]
    cells = [
        name,
        ", ".join(ran) or "nothing",
        f"{ship:.1f} s",
        f"{ship / first:.0%}",
        f"{save:.1f} s",
        f"{pulled / 1e6:.1f} MB",
        f"{pushed / 1e6:.1f} MB",
    ]
    return f"| {' | '.join(cells)} |"


@contextmanager
def open_example() -> Iterator[Project]:
    """Yield a repository with the example, an engine that has only its base image, and an empty registry."""
    with start_servers(save_base) as servers:
        project = servers.create_project("example")
        shutil.copytree(EXAMPLE, project.folder)
        context = json.dumps(f"docker-image://{servers.base.name}")
        settings = f'image = "{project.image}"\nnetwork = "host"\n[contexts]\n"{DEBIAN}" = {context}\n'
        project.write({"stagebake.toml": settings})
        project.git("init", "--quiet", "--initial-branch=main")
        project.commit()
        yield project


def save_base(folder: Path) -> Base:
    """Return the base image of `example/debian-image`, exported from the machine's engine."""
    answer = subprocess.run([EXAMPLE / "debian-image"], check=True, stdout=subprocess.PIPE, text=True)
    name = answer.stdout.strip()
    archive = folder / "base.tar"
    subprocess.run(["docker", "image", "save", f"--output={archive}", name], check=True)
    return Base(name=name, archive=archive)


if __name__ == "__main__":
    sys.exit(main())
