"""Make a git repository with a history by one `git fast-import`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.shapes import FIVE

Change = Mapping[str, str | None]
"""What one commit changes: path to the text that is there then, None for a file that is gone."""


@dataclass(frozen=True)
class Repository:
    """Repository on the branch main; its work tree is empty until `checkout`."""

    folder: Path

    def git(self, *arguments: str, text: bytes = b"") -> str:
        """Run git and return its output."""
        command = ("git", "-c", "user.name=test", "-c", "user.email=test@stagebake.test", *arguments)
        answer = subprocess.run(command, cwd=self.folder, input=text, capture_output=True, timeout=300, check=False)
        assert answer.returncode == 0, answer.stderr.decode()
        return answer.stdout.decode()

    def stagebake(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        """Run `stagebake ARGUMENTS` where no engine answers, whatever its exit code."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_HOST": "unix:///nowhere.sock"}
        command = (sys.executable, "-m", "stagebake", *arguments)
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def checkout(self, commit: str = "main") -> None:
        self.git("checkout", "--quiet", "--force", commit)

    def write_file(self, name: str, text: str) -> None:
        """Write a file of the work tree, with its line ends as they are."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())

    def commit_all(self) -> None:
        """Commit everything that git does not ignore."""
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=work")


def grow(folder: Path, history: Iterable[Change]) -> Repository:
    """Make a repository with a commit for each change."""
    folder.mkdir()
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.git("fast-import", "--quiet", text=b"".join(_commits(history)))
    return repository


def _commits(history: Iterable[Change]) -> Iterator[bytes]:
    for number, change in enumerate(history):
        yield b"commit refs/heads/main\ncommitter t <t@stagebake.test> %d +0000\n" % (1_700_000_000 + number)
        yield b"data 4\nwork\n"
        for path, text in change.items():
            if text is None:
                yield f"D {path}\n".encode()
            else:
                content = text.encode()
                yield f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
        yield b"\n"


def realistic(count: int, seed: int = 1) -> Iterator[Change]:
    """Yield a team's pushes to the five-stage Dockerfile: mostly code, sometimes packages, notes, a revert."""
    draw = random.Random(seed)
    yield FIVE
    pages = dict.fromkeys((f"src/page{number}.ts" for number in range(20)), "0\n")
    yield dict(pages)
    for number in range(2, count):
        kind = draw.choices(("code", "notes", "npm", "python", "base", "revert"), (62, 12, 14, 5, 1, 6))[0]
        page = draw.choice(sorted(pages))
        match kind:
            case "code":
                pages[page] = f"{number}\n"
                yield {page: pages[page]}
            case "notes":
                yield {"README.md": f"{number}\n"}
            case "npm":
                yield {"package.json": f'{{"v": {number}}}\n', "package-lock.json": f'{{"v": {number}}}\n'}
            case "python":
                yield {"requirements.txt": f"torch=={number}\n"}
            case "base":
                yield {"Dockerfile": FIVE["Dockerfile"].replace("WORKDIR /app", f"WORKDIR /app{number}")}
            case _:
                yield from _reverted(page, pages[page], number)


def _reverted(page: str, before: str, number: int) -> Iterator[Change]:
    """Change a page, and change it back."""
    yield {page: f"slip {number}\n"}
    yield {page: before}
