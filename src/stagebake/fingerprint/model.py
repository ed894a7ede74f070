"""What the result of each stage depends on, as named parts. Pure; `stagebake.reading` makes fingerprints.

Two equal fingerprints without unknown parts mean that BuildKit restores the stage from a cache that has it; two that
differ mean that it most likely runs. Parts are what enters BuildKit's cache keys (moby/buildkit,
solver/llbsolver/ops and cache/contenthash): instructions that run, the variables they see, the files they take, stages,
images, platform. What only labels the image (LABEL, CMD, ENTRYPOINT, EXPOSE, HEALTHCHECK, VOLUME, STOPSIGNAL) runs
nothing and is no part, nor are times and owners of files, secrets, ssh agents and the contents of cache mounts. An ARG,
ENV, SHELL or USER counts where a RUN follows it, in the stage or in one that starts from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from stagebake.dockerfile.variables import is_hidden

PartKind = Literal["instruction", "arg", "env", "file", "image", "stage", "platform", "setting", "ignore", "unknown"]

# Their names say nothing: a stage is what it holds, and an instruction's value has all of its text
_NAMELESS = ("instruction", "stage")


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a stage depends on.

    `name` is what people call it (`RUN npm ci`, `NODE_MAJOR`, `app/page.tsx`, `debian:12`, `node-deps`), `value` what
    is compared: a digest, or the value itself; of an ARG or ENV whose name tells of a secret only a digest.
    A file has its permission bits in `mode` (None for a link), `size` in bytes and `lines` (None where nobody
    counted); its value is `sha1:…` (git's blob id), `link TARGET` or `folder`. The value of an unknown part says why
    it is unknown. `line` is the Dockerfile's. `size`, `lines` and `line` explain and are no part of the identity.
    A part of the kind `ignore` has the name and the text of the ignore file in force, both "" where there is none, only
    to explain changes of files. `base` says of an image that a stage starts from it; nothing is compared by it.
    """

    kind: PartKind
    name: str
    value: str
    line: int = 0
    mode: int | None = None
    size: int = 0
    lines: int | None = None
    base: bool = field(default=False, compare=False)

    @property
    def identity(self) -> tuple[str, str, str, int | None]:
        return self.kind, "" if self.kind in _NAMELESS else self.name, self.value, self.mode

    @property
    def covered(self) -> bool:
        """Whether the value is a digest, so that no secret is told."""
        return self.kind in ("arg", "env") and is_hidden(self.value)


@dataclass(frozen=True)
class Fingerprint:
    """The parts of one stage, in the order in which they take effect."""

    stage: str
    parts: tuple[Part, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all parts, those of the stages it takes from in their digests."""
        identities = "\n".join(repr(part.identity) for part in self.parts if part.kind != "ignore")
        return f"sha256:{hashlib.sha256(identities.encode('utf-8', 'surrogateescape')).hexdigest()}"

    @cached_property
    def unknown(self) -> tuple[Part, ...]:
        """What cannot be known; a stage that takes from one with unknown parts has that stage among its own."""
        return tuple(part for part in self.parts if part.kind == "unknown")

    def same(self, other: Fingerprint) -> bool:
        """Whether the result is known to be the same: never where something is unknown."""
        return not self.unknown and not other.unknown and self.digest == other.digest


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """A file, link or folder of the build context, as a `file` Part describes it; an empty digest: not readable."""

    digest: str
    mode: int | None = None
    size: int = 0
    lines: int | None = None


class BuildContext(Protocol):
    """A build context after its ignore rules. Paths are relative, with `/`, without a leading one."""

    @property
    def rules_name(self) -> str:
        """What the ignore file in force is called, without its folder; "" where there is none."""

    @property
    def rules(self) -> str:
        """The text of the ignore file in force, "" where there is none."""

    @property
    def paths(self) -> Sequence[str]:
        """All files, links and folders, sorted."""

    @property
    def links(self) -> Mapping[str, str]:
        """The symbolic links among them, and where each points."""

    def read_entries(self, paths: Collection[str]) -> Mapping[str, ContextEntry]:
        """What is at these paths; hashes what was not hashed before."""


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """An image that a stage takes from: its digest, the variables of its configuration and its ONBUILD triggers.

    `env` None: only the digest is known; words with the image's variables then count for more than they are.
    `triggers` None: nobody looked, so a stage that starts from the image has an unknown part; () says there are none.
    """

    digest: str
    env: Mapping[str, str] | None = None
    triggers: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """What a build is given beside the Dockerfile and its arguments, which the StageGraph was read with.

    `context` is None where it is not on this machine (a git or http address). `images` has what is known of each image
    by the name in the StageGraph (and of the one that `# syntax=` names), after the settings' `contexts`: an absent one
    is unknown, except one that is named by digest. `settings` are other settings that enter the cache keys of RUN
    (`network`). buildx turns the variable SOURCE_DATE_EPOCH into a build argument, so it belongs to the StageGraph's
    `args`.
    """

    context: BuildContext | None
    images: Mapping[str, ImageInfo] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
