"""Ask git about the checkout: branch, default branch, commit, and the repository that its remote names."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stagebake.project.image_name import NO_IMAGE, DefaultImage, Remote, github_image, is_github_host, parse_remote
from stagebake.project.image_tags import CommitInfo


class GitCheckout:
    """Git work tree at `root`. Every answer is None where git or the repository is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def branch(self) -> str | None:
        """Return the branch that is checked out; None on a detached HEAD."""
        return self._ask_git("symbolic-ref", "--quiet", "--short", "HEAD")

    def default_branch(self) -> str:
        """Return the branch that the remote's HEAD points at.

        Where that is unknown, it is `main`; and `master` in a repository that has no `main`.
        """
        if head := self._ask_git("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"):
            return head.removeprefix("origin/")
        only_master = self._has_branch("master") and not self._has_branch("main")
        return "master" if only_master else "main"

    def image(self) -> DefaultImage:
        """Return the image of the repository on GitHub that the remote `origin` names."""
        remote = self._find_remote()
        return github_image(remote.host, remote.owner_and_name) if remote else NO_IMAGE

    def commit(self) -> CommitInfo:
        """Return the checked-out commit, with the address of its repository without any credentials."""
        remote = self._find_remote()
        return CommitInfo(
            revision=self._ask_git("rev-parse", "--verify", "--quiet", "HEAD"),
            created=self._ask_git("show", "--no-patch", "--format=%cI", "HEAD"),
            source=remote.url if remote else None,
        )

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return True if git knows both commits and the first is the second or one of its ancestors."""
        return self._run_git("merge-base", "--is-ancestor", older, newer).returncode == 0

    def refusal(self) -> str | None:
        """Return why git does not open the repository of this folder; None where it does, or where there is none.

        Git refuses a work tree that another user owns (git-scm.com/docs/git-config, "safe.directory"), which is what a
        job in a container often sees.
        """
        answer = self._run_git("rev-parse", "--git-dir")
        if "dubious ownership" not in answer.stderr:
            return None
        folder = self._root.resolve()
        return (
            f"git does not open this folder, because another user owns {folder}: branch and commit come from the CI's "
            f"variables alone; run: git config --global --add safe.directory {folder}"
        )

    def _find_remote(self) -> Remote | None:
        remote = parse_remote(self._ask_git("remote", "get-url", "origin") or "")
        return remote if remote and is_github_host(remote.host) else None

    def _has_branch(self, branch: str) -> bool:
        """Return True for a branch here or at the remote. The branch of HEAD counts before its first commit, too."""
        if branch == self.branch():
            return True
        places = (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}")
        return any(self._ask_git("rev-parse", "--verify", "--quiet", place) for place in places)

    def _ask_git(self, *arguments: str) -> str | None:
        """Return what git prints; None if it fails or prints nothing."""
        answer = self._run_git(*arguments)
        if answer.returncode != 0:
            return None
        return answer.stdout.strip() or None

    def _run_git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git. A git that is missing or hangs counts as one that fails."""
        command = ["git", *arguments]
        try:
            return subprocess.run(
                command, cwd=self._root, capture_output=True, text=True, errors="surrogateescape", timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return subprocess.CompletedProcess(command, returncode=127, stdout="", stderr="")
