"""Read objects of a git repository through one `git cat-file` process."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self, cast

from stagebake.errors import InputError
from stagebake.project.git import decode_path, encode_path, find_git_message

# Answers, each with a path, for a link that leads to no file of the commit (git-cat-file, --follow-symlinks)
_BROKEN_LINKS = (b"symlink", b"dangling", b"loop", b"notdir")

_MISSING = (b" missing\n", b" ambiguous\n")
_EXIT_SECONDS = 120


class GitObject(NamedTuple):
    """Object of a repository: id, content, and kind (`blob`, `tree`, `commit`, `tag`)."""

    id: str
    content: bytes
    kind: str


class TreeItem(NamedTuple):
    """Entry of a tree: its mode (octal digits), its name and the id of its object."""

    mode: str
    name: str
    id: str


class GitObjects:
    """Objects of the repository at `repository`; a context manager that runs the process.

    `environment` None means this process's own.
    """

    def __init__(self, repository: Path, environment: Mapping[str, str] | None = None) -> None:
        self._repository = repository
        self._environment = environment

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            ["git", "cat-file", "--batch", "--follow-symlinks"],
            cwd=self._repository,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
        self._log.close()

    def read_object(self, name: str) -> GitObject | None:
        """Return an object by any name that git knows (`COMMIT:path`), None for a missing one.

        Raise InputError if git cannot read the repository.
        """
        self._send_request(name)
        answers = cast(IO[bytes], self._process.stdout)
        heading = answers.readline()
        if not heading:
            raise self._exit_error()
        if heading.endswith(_MISSING):
            return None
        first, *kind, size = heading.split()
        content = answers.read(int(size))
        answers.read(1)
        if first in _BROKEN_LINKS:
            return None
        return GitObject(first.decode(), content, kind[0].decode())

    def read_text(self, name: str) -> str | None:
        """Return the text of a file as `read_exact_text` does; None for a missing one."""
        found = self.read_object(name)
        return decode_path(found.content) if found else None

    def read_tree(self, tree: str) -> list[TreeItem]:
        """Return the entries of a tree, given by its id; none for a missing tree."""
        found = self.read_object(tree)
        if found is None:
            return []
        return list(_parse_tree(found.content, id_size=len(tree) // 2))

    def _send_request(self, name: str) -> None:
        requests = cast(IO[bytes], self._process.stdin)
        try:
            requests.write(encode_path(f"{name}\n"))
            requests.flush()
        except BrokenPipeError:
            raise self._exit_error() from None

    def _exit_error(self) -> InputError:
        self._process.wait(_EXIT_SECONDS)
        self._log.seek(0)
        message = find_git_message(self._log.read())
        return InputError(f"{self._repository}: {message}", "fetch what this clone lacks: git fetch --refetch")


def _parse_tree(content: bytes, id_size: int) -> Iterator[TreeItem]:
    """Yield the entries of a tree: each is `MODE NAME`, a zero byte, and the bytes of the id."""
    start = 0
    while start < len(content):
        space = content.index(b" ", start)
        zero = content.index(b"\0", space)
        end = zero + 1 + id_size
        yield TreeItem(
            mode=content[start:space].decode(),
            name=decode_path(content[space + 1 : zero]),
            id=content[zero + 1 : end].hex(),
        )
        start = end
