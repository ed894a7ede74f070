"""Compute the fingerprints of all stages of a build, with its settings, platforms and base images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from stagebake.cache.manifest import sha256_digest
from stagebake.context.entries import BuildContext
from stagebake.context.folder import ContextFolder
from stagebake.dockerfile.stages import StageGraph
from stagebake.fingerprint.base_images import look_up_images
from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo, Part
from stagebake.fingerprint.source_policy import source_policy_parts
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.generate.bake_file import OVERRIDE_FILE
from stagebake.interrupts import run_later
from stagebake.project.settings import Settings

_IMAGE = "docker-image://"

# Keys of a target in the user's bake file that change neither what a stage is made from nor the caches it is read from
_HARMLESS = frozenset({"annotations", "attest", "description", "labels", "output", "tags", "__is_block__"})

Fingerprints = Mapping[str, Fingerprint]


@dataclass(frozen=True, kw_only=True)
class Fingerprinter:
    """Computes the fingerprints of a build.

    `graphs` are those of the Dockerfile, one for each platform. `override` is the text of the user's own bake file.
    `memory` is a file that remembers the hashes of files, `source_policy` the file of BuildKit's source policy, if any.
    """

    graphs: Sequence[StageGraph]
    settings: Settings
    override: str | None = None
    memory: Path | None = None
    source_policy: Path | None = None

    def fingerprint_folder(self) -> Fingerprints:
        """Return the fingerprints of the stages with the files in the context's folder."""
        root = self.settings.root
        folder = ContextFolder(
            root / self.settings.context,
            root / self.settings.dockerfile,
            self.memory,
        )
        return self.fingerprint_context(folder)

    def fingerprint_context(self, context: BuildContext) -> Fingerprints:
        """Return the fingerprints of the stages with this build context.

        With several platforms a stage has the parts of each platform, one after the other.
        """
        parts: dict[str, list[Part]] = {}
        for graph in self.graphs:
            inputs = self._build_inputs(graph, context)
            for name, fingerprint in fingerprint_stages(graph, inputs).items():
                parts.setdefault(name, []).extend(fingerprint.parts)
        shared = self._shared_parts()
        return {name: Fingerprint(name, (*own, *shared)) for name, own in parts.items()}

    def fingerprint_later(self) -> Future[Fingerprints]:
        """Start `fingerprint_folder` in a thread, which an interrupt does not wait for."""
        return run_later(self.fingerprint_folder)

    def _build_inputs(self, graph: StageGraph, context: BuildContext) -> BuildInputs:
        settings = self.settings
        return BuildInputs(
            context=None if settings.remote_context else context,
            images=_look_up_sources(graph, settings),
            settings={"network": settings.network} if settings.network else {},
        )

    def _shared_parts(self) -> list[Part]:
        """Return the parts of the source policy and of the user's bake file, which every stage has."""
        parts = source_policy_parts(self.source_policy)
        if self.override is None:
            return parts
        parts.append(Part("setting", OVERRIDE_FILE, sha256_digest(self.override.encode())))
        if not _is_harmless(self.override):
            parts.append(Part("unknown", OVERRIDE_FILE, "it may set what stages are made from"))
        return parts


def _is_harmless(text: str) -> bool:
    """Return True if a bake file has only settings that leave the stages as they are."""
    import hcl2  # slow to load, and few projects have such a file

    try:
        document = hcl2.loads(text)
        if not document.keys() <= {"target", "group"}:
            return False
        for block in document.get("target", ()):
            for body in block.values():
                if not body.keys() <= _HARMLESS:
                    return False
    except Exception:  # the parser has errors of its own; bake reads more than it does
        return False
    return True


def _look_up_sources(graph: StageGraph, settings: Settings) -> dict[str, ImageInfo]:
    """Return what registries say of the images that stages take from, with the settings' named contexts instead."""
    references = _image_references(graph, settings)
    answers = look_up_images(references.values(), graph.variables["TARGETPLATFORM"])
    found: dict[str, ImageInfo] = {}
    for name, reference in references.items():
        if reference in answers:
            found[name] = answers[reference]
    return found


def _image_references(graph: StageGraph, settings: Settings) -> dict[str, str]:
    """Return the image that each name of the Dockerfile stands for; names of other contexts are left out."""
    names = {graph.syntax} if graph.syntax else set()
    for stage in graph.needed_stages():
        names.update(image.name for image in stage.images)
    contexts = {familiar_name(name): value for name, value in settings.contexts.items()}
    references: dict[str, str] = {}
    for name in names:
        value = contexts.get(familiar_name(name), f"{_IMAGE}{name}")
        if value.startswith(_IMAGE):
            references[name] = value.removeprefix(_IMAGE)
    return references


def familiar_name(name: str) -> str:
    """Return the name by which a context and an image are the same (docker/buildx, build/opt.go; frontend/dockerui)."""
    short = name.removeprefix("index.").removeprefix("docker.io/")
    if short.count("/") == 1:
        short = short.removeprefix("library/")
    return short.removesuffix(":latest")
