"""Define the build context as its readers see it: paths, links, the ignore file, and an entry for each path."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """File, link or folder of the build context, with its permission bits, its size in bytes and its lines.

    The digest is `sha1:…` (git's blob id), `link TARGET` or `folder`; and empty for a file that cannot be read. `mode`
    is None for a link, `lines` where they were not counted.
    """

    digest: str
    mode: int | None = None
    size: int = 0
    lines: int | None = None


class BuildContext(Protocol):
    """Build context after its ignore rules. Paths are relative, with `/` between folders."""

    @property
    def rules_name(self) -> str:
        """Name of the ignore file in force, without its folder; "" for none."""

    @property
    def rules(self) -> str:
        """Text of the ignore file in force, "" for none."""

    @property
    def paths(self) -> Sequence[str]:
        """Paths of files, links and folders, sorted."""

    @property
    def links(self) -> Mapping[str, str]:
        """Symbolic links by path, with their targets."""

    def read_entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
        """Return the entries at these paths; hash files that were not hashed before."""
