"""Define fingerprints: everything that the result of a stage depends on, as named parts.

If two fingerprints are equal and have no unknown part, BuildKit restores the stage from a cache that holds it; if they
differ, BuildKit most likely runs it. The parts are what enters BuildKit's cache keys (moby/buildkit,
solver/llbsolver/ops and cache/contenthash): instructions that run, the variables they see, the files, stages and images
that they take from, and the platform. An ARG, ENV, SHELL or USER counts only if a RUN follows it, in the stage or in a
stage that starts from it.

These are not parts: instructions that only set properties of the image (LABEL, CMD, ENTRYPOINT, EXPOSE, HEALTHCHECK,
VOLUME, STOPSIGNAL), times and owners of files, secrets, ssh agents and the content of cache mounts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from stagebake.context.entries import BuildContext
from stagebake.dockerfile.variables import is_hidden

PartKind = Literal["instruction", "arg", "env", "file", "image", "stage", "platform", "setting", "ignore", "unknown"]

# Kinds that are compared without their names: a stage by its content, an instruction by its full text in the value
_NAMELESS = ("instruction", "stage")


@dataclass(frozen=True, slots=True)
class Part:
    """Part of a fingerprint: something that a stage depends on.

    `name` is for people (`RUN npm ci`, `NODE_MAJOR`, `app/page.tsx`, `debian:12`, `node-deps`). `value` is compared: a
    digest or the value itself; only a digest for an ARG or ENV whose name suggests a secret. The value of an unknown
    part is the reason.

    A file has its permission bits in `mode` (None for a link), its `size` in bytes and its `lines` (None if not
    counted); its value is `sha1:…` (git's blob id), `link TARGET` or `folder`.

    A part of kind `ignore` has the name and the text of the ignore file in force, both "" for none. Like `line` (in the
    Dockerfile), `size`, `lines` and `base` (True for an image that the stage starts from), it only explains changes and
    is not compared.
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
        """Values that are compared."""
        name = "" if self.kind in _NAMELESS else self.name
        return self.kind, name, self.value, self.mode

    @property
    def covered(self) -> bool:
        """True if the value is a digest that hides a secret."""
        return self.kind in ("arg", "env") and is_hidden(self.value)


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a stage: its parts, in the order in which they take effect."""

    stage: str
    parts: tuple[Part, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all compared parts; it covers the stages that this one takes from by their digests."""
        identities = [repr(part.identity) for part in self.parts if part.kind != "ignore"]
        content = "\n".join(identities).encode("utf-8", "surrogateescape")
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    @cached_property
    def unknown(self) -> tuple[Part, ...]:
        """Unknown parts, among them each stage with unknown parts that this one takes from."""
        return tuple(part for part in self.parts if part.kind == "unknown")

    def is_same(self, other: Fingerprint) -> bool:
        """Return True if the result is known to be the same: never if a part is unknown."""
        return not self.unknown and not other.unknown and self.digest == other.digest


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """Image that a stage takes from: its digest, the variables of its configuration and its ONBUILD triggers.

    `env` None means unknown: words with the image's variables then match more files than they do. `triggers` None means
    unknown, too: a stage that starts from the image then has an unknown part.
    """

    digest: str
    env: Mapping[str, str] | None = None
    triggers: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """Inputs of a build other than the Dockerfile and its arguments, which the StageGraph has.

    `context` is None if it is not on this machine (a git or http address). `images` are the known images by their name
    in the StageGraph or in `# syntax=`, after the settings' `contexts`; others are unknown, unless pinned by digest.
    `settings` are other settings that enter the cache keys of RUN (`network`). SOURCE_DATE_EPOCH is not here: buildx
    makes it a build argument, so it is in the `args` of the StageGraph.
    """

    context: BuildContext | None
    images: Mapping[str, ImageInfo] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
