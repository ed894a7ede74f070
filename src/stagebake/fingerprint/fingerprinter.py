"""The fingerprints of a repository's stages: as it lies in its folder, and as a commit has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from stagebake.cache.manifest import sha256_digest
from stagebake.dockerfile.stages import StageGraph
from stagebake.fingerprint.base_images import look_up_images
from stagebake.fingerprint.context import ContextFolder
from stagebake.fingerprint.model import BuildContext, BuildInputs, Fingerprint, ImageInfo, Part
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.generate.bake_file import OVERRIDE_FILE
from stagebake.project.settings import Settings

_IMAGE = "docker-image://"

# In a target of the user's bake file: what neither changes what a stage is made from nor which caches it is read from
_HARMLESS = frozenset({"annotations", "attest", "description", "labels", "output", "tags", "__is_block__"})

Fingerprints = Mapping[str, Fingerprint]


@dataclass(frozen=True, kw_only=True)
class Fingerprinter:
    """What is built: the Dockerfile as read for each platform, the settings, and the text of the user's own bake file.

    What was hashed once is remembered in the file `memory`.
    """

    graphs: Sequence[StageGraph]
    settings: Settings
    override: str | None = None
    memory: Path | None = None

    def fingerprint_folder(self) -> Fingerprints:
        """The fingerprints of the files as they lie there now."""
        root = self.settings.root
        return self._take(ContextFolder(root / self.settings.context, root / self.settings.dockerfile, self.memory))

    def fingerprint_context(self, commit: BuildContext) -> Fingerprints:
        """The fingerprints of the files as a commit has them; the graphs were read from its Dockerfile."""
        return self._take(commit)

    def later(self) -> Future[Fingerprints]:
        """Those of the folder, taken while something else goes on; an interrupt does not wait for them."""
        future: Future[Fingerprints] = Future()

        def take() -> None:
            try:
                future.set_result(self.fingerprint_folder())
            except Exception as error:
                future.set_exception(error)

        Thread(target=take, daemon=True).start()
        return future

    def _take(self, context: BuildContext) -> Fingerprints:
        """Of several platforms a stage's parts are those of each, one after the other."""
        here = None if self.settings.remote_context else context
        run = {"network": self.settings.network} if self.settings.network else {}
        prints = [
            fingerprint_stages(graph, BuildInputs(context=here, images=_images(graph, self.settings), settings=run))
            for graph in self.graphs
        ]
        more = tuple(self._for_all())
        return {
            name: Fingerprint(name, (*(part for each in prints for part in each[name].parts), *more))
            for name in prints[0]
        }

    def _for_all(self) -> Iterator[Part]:
        """What counts for every stage."""
        if self.override is not None:
            yield Part("setting", OVERRIDE_FILE, sha256_digest(self.override.encode()))
            if not _harmless(self.override):
                yield Part("unknown", OVERRIDE_FILE, "it may set what stages are made from")


def _harmless(text: str) -> bool:
    """Whether a bake file has nothing but what is known to leave the stages as they are."""
    import hcl2  # slow to load, and few projects have such a file

    try:
        document = hcl2.loads(text)
        targets = [body for block in document.get("target", ()) for body in block.values()]
        return document.keys() <= {"target", "group"} and all(body.keys() <= _HARMLESS for body in targets)
    except Exception:  # the parser has errors of its own; bake reads more than it does
        return False


def _images(graph: StageGraph, settings: Settings) -> dict[str, ImageInfo]:
    """What registries tell of the images that stages take from, after the settings' `contexts`."""
    names: Iterable[str] = {image.name for stage in graph.needed_stages() for image in stage.images}
    contexts = {familiar_name(name): value for name, value in settings.contexts.items()}
    stands = {name: contexts.get(familiar_name(name), f"{_IMAGE}{name}") for name in {*names, graph.syntax} if name}
    references = {name: value.removeprefix(_IMAGE) for name, value in stands.items() if value.startswith(_IMAGE)}
    answers = look_up_images(references.values(), graph.variables["TARGETPLATFORM"])
    return {name: answers[reference] for name, reference in references.items() if reference in answers}


def familiar_name(name: str) -> str:
    """The name by which a context and an image are the same (docker/buildx, build/opt.go; frontend/dockerui)."""
    short = name.removeprefix("index.").removeprefix("docker.io/")
    return (short.removeprefix("library/") if short.count("/") == 1 else short).removesuffix(":latest")
