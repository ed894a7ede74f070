"""Run git, and ask it about the checkout: branch, default branch, commit, and the repository that its remote names."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from stagebake.errors import InputError
from stagebake.naming.image_name import NO_IMAGE, DefaultImage, Remote, github_image, is_github_host, parse_remote
from stagebake.naming.image_tags import CommitInfo

_TIMEOUT_SECONDS = 120


def run_git(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    text: str = "",
) -> str:
    """Return what git prints in a folder. `text` is its standard input; `environment` None means this process's.

    Raise InputError with git's own message.
    """
    command = ("git", "--no-optional-locks", *arguments)
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            input=encode_path(text),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        if shutil.which("git") is not None:  # the folder is missing
            raise _git_error(folder, str(error)) from None
        raise InputError(f"{folder}: git is not installed", "install git, and check PATH") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise _git_error(folder, str(error)) from None
    if answer.returncode:
        raise _git_error(folder, find_git_message(answer.stderr))
    return decode_path(answer.stdout)


def split_paths(output: str) -> list[str]:
    """Return the paths that git prints with `-z`."""
    return [path for path in output.split("\0") if path]


def join_paths(paths: Iterable[str]) -> str:
    """Return paths as git reads them with `-z`."""
    return "".join(f"{path}\0" for path in paths)


def encode_path(text: str) -> bytes:
    """Return text that may contain file names as git reads it."""
    return text.encode("utf-8", "surrogateescape")


def decode_path(content: bytes) -> str:
    """Return what git writes as text; file names may have any bytes."""
    return content.decode("utf-8", "surrogateescape")


def find_git_message(log: bytes) -> str:
    """Return the line of git's error output that says what is wrong, without the hints around it."""
    lines = log.decode("utf-8", "replace").splitlines()
    for line in lines:
        if line.startswith("fatal:"):
            return line
    return lines[0] if lines else "git failed"


def _git_error(folder: Path, message: str) -> InputError:
    return InputError(
        f"{folder}: {message}",
        "run this in a work tree that has the commits; get those that a clone lacks with `git fetch --unshallow`",
    )


class GitCheckout:
    """Git work tree at `root`. Every answer is None where git or the repository is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def current_branch(self) -> str | None:
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

    def known_branches(self) -> list[str]:
        """Return the names of the branches that git knows, here and at the remote `origin`, without asking it."""
        heads = self._ask_git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads") or ""
        remote = self._ask_git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin") or ""
        return [*heads.split(), *remote.split()]

    def remote_branches(self) -> list[str] | None:
        """Ask the remote `origin` for its branches; None where it does not answer."""
        listed = self._ask_git("ls-remote", "--heads", "origin")
        if listed is None:
            return None
        return [line.partition("refs/heads/")[2] for line in listed.splitlines()]

    def remote_repository(self) -> str | None:
        """Return OWNER/NAME of the repository on GitHub that the remote `origin` names."""
        remote = self._find_remote()
        return remote.owner_and_name if remote else None

    def default_image(self) -> DefaultImage:
        """Return the image of the repository on GitHub that the remote `origin` names."""
        remote = self._find_remote()
        return github_image(remote.host, remote.owner_and_name) if remote else NO_IMAGE

    def current_commit(self) -> CommitInfo:
        """Return the checked-out commit, with the address of its repository without any credentials."""
        remote = self._find_remote()
        return CommitInfo(
            revision=self._ask_git("rev-parse", "--verify", "--quiet", "HEAD"),
            created=self._ask_git("show", "--no-patch", "--format=%cI", "HEAD"),
            source=remote.url if remote else None,
        )

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return True if git knows both commits and the first is the second or one of its ancestors."""
        try:
            run_git(self._root, "merge-base", "--is-ancestor", older, newer)
        except InputError:
            return False
        return True

    def folder_in_repository(self) -> str:
        """Return this folder's path in the repository, such as `app/`; empty at the top and without a repository."""
        return self._ask_git("rev-parse", "--show-prefix") or ""

    def has_changes(self, path: Path) -> bool:
        """Return True if a file differs from the last commit; False also where git or the repository is missing."""
        return self._ask_git("status", "--porcelain", "--untracked-files=all", "--ignored", "--", str(path)) is not None

    def find_refusal(self) -> str | None:
        """Return why git does not open the repository of this folder; None where it does, and without a repository.

        Git refuses a work tree that another user owns (git-scm.com/docs/git-config, "safe.directory"), which is what a
        job in a container often sees.
        """
        try:
            run_git(self._root, "rev-parse", "--git-dir")
            return None
        except InputError as error:
            if "dubious ownership" not in error.problem:
                return None
        folder = self._root.resolve()
        return (
            f"git does not open this folder, because another user owns {folder}: branch and commit come from the CI's "
            f"variables alone; run: git config --global --add safe.directory {folder}"
        )

    def explain_missing_branch(self) -> str:
        """Return why git names no branch: it is missing, there is no repository, or HEAD is detached."""
        if shutil.which("git") is None:
            return "git is not installed"
        if self._ask_git("rev-parse", "--git-dir") is None:
            return "git knows no repository here"
        return "HEAD is detached"

    def _find_remote(self) -> Remote | None:
        remote = parse_remote(self._ask_git("remote", "get-url", "origin") or "")
        return remote if remote and is_github_host(remote.host) else None

    def _has_branch(self, branch: str) -> bool:
        """Return True for a branch here or at the remote. The branch of HEAD counts before its first commit, too."""
        if branch == self.current_branch():
            return True
        places = (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}")
        return any(self._ask_git("rev-parse", "--verify", "--quiet", place) for place in places)

    def _ask_git(self, *arguments: str) -> str | None:
        """Return what git prints; None if it fails or prints nothing."""
        try:
            answer = run_git(self._root, *arguments)
        except InputError:
            return None
        return answer.strip() or None
