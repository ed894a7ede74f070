"""What the git checkout says: branch, default branch, and the image's name that its remote stands for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from stagebake.project.image_tags import CommitInfo

_REMOTE = re.compile(r"^(?:\w+://)?(?:[^@/]+@)?github\.com[:/](?P<path>[^/]+/[^/]+?)(?:\.git)?/?$")


class GitCheckout:
    """The git work tree at `root`; every answer is None where git or a repository is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def branch(self) -> str | None:
        """The branch that is checked out, None on a detached HEAD."""
        return self._ask("symbolic-ref", "--quiet", "--short", "HEAD")

    def default_branch(self) -> str:
        """What the remote's HEAD points at; where it is not known `main`, or `master` where there is only that."""
        if head := self._ask("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"):
            return head.removeprefix("origin/")
        only_master = self._has("master") and not self._has("main")
        return "master" if only_master else "main"

    def _has(self, branch: str) -> bool:
        """Whether there is a branch of that name, here or at the remote; the one that HEAD is on may have no commit."""
        places = (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}")
        return branch == self.branch() or any(self._ask("rev-parse", "--verify", "--quiet", place) for place in places)

    def image(self) -> str | None:
        """ghcr.io/OWNER/REPO of a remote at github.com, in lower case."""
        found = _REMOTE.match(self._ask("remote", "get-url", "origin") or "")
        return f"ghcr.io/{found['path'].lower()}" if found else None

    def commit(self) -> CommitInfo:
        """The checked-out commit, with the address of its repository without any credentials."""
        found = _REMOTE.match(self._ask("remote", "get-url", "origin") or "")
        return CommitInfo(
            revision=self._ask("rev-parse", "--verify", "--quiet", "HEAD"),
            created=self._ask("show", "--no-patch", "--format=%cI", "HEAD"),
            source=f"https://github.com/{found['path']}" if found else None,
        )

    def _ask(self, *arguments: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", *arguments], cwd=self._root, capture_output=True, text=True, check=True, timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip() or None
