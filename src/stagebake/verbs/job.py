"""What a verb works on, taken from the repository, the environment and the flags."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from stagebake import actions, advice, bakefile, config, context, dockerfile, files, github, recall, scopes, survey
from stagebake.build import Stores
from stagebake.cache import Repository
from stagebake.config import Settings
from stagebake.dockerfile import StageGraph
from stagebake.errors import InputError
from stagebake.git import Checkout
from stagebake.layout import Layout
from stagebake.recall import Ledgers
from stagebake.registry import Registry
from stagebake.scan import Scan
from stagebake.scopes import Access, Occasion
from stagebake.verbs import flags


@dataclass(frozen=True)
class Job:
    """One run of a verb: its flags, the settings they come to, the git checkout, and GitHub's run where it is one."""

    options: argparse.Namespace
    settings: Settings
    checkout: Checkout
    run: github.Run | None

    @cached_property
    def text(self) -> str:
        """The Dockerfile's. Raises InputError."""
        path = self.settings.root / self.settings.dockerfile
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"{path}: there is no Dockerfile", "name it under `dockerfile` in the settings") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}:1: not readable as text: {error}", "is this the Dockerfile?") from None

    @cached_property
    def graph(self) -> StageGraph:
        return _parse(self.settings, self.text)

    @cached_property
    def override(self) -> str | None:
        """The text of the user's own bake file, which is laid over the generated one."""
        path = self.settings.root / bakefile.OVERRIDE
        return files.read(path) if path.is_file() else None

    @property
    def forced(self) -> frozenset[str]:
        """The stages that --no-cache forces: those it names, all for its bare form."""
        bare = self.options.no_cache == []
        return frozenset(self.graph.names) if bare else self.graph.forcing(self._named)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does less or more than it says: variables that set nothing, and --no-cache."""
        return (*config.misspelt(os.environ), *advice.forcing(self.graph, self._named))

    @cached_property
    def _named(self) -> tuple[str, ...]:
        return tuple(self.graph.find(name, "--no-cache").name for name in self.options.no_cache or ())

    @property
    def occasion(self) -> Occasion:
        return self.run.occasion if self.run else Occasion(branch=self.checkout.branch())

    @property
    def default_branch(self) -> str:
        return (self.run and self.run.default_branch) or self.checkout.default_branch()

    @cached_property
    def access(self) -> Access:
        """The scopes read and written. --scope names another branch's, but gives a stranger's code no more rights."""
        occasion, scope = self.occasion, self.options.scope
        chosen = Occasion(branch=scope) if scope and occasion.trusted else occasion
        return scopes.access(chosen, self.default_branch, push=self.options.push)

    @property
    def scope(self) -> str:
        """Whose caches are read first, as people call it."""
        return self.access.reads[0].name or self.default_branch

    @cached_property
    def stores(self) -> Stores:
        """Where the image and its caches lie, as the settings say."""
        settings = self.settings
        images = Registry(settings.image) if settings.image else None
        name = settings.image or settings.local_image
        if settings.cache == "local":
            return Stores(images=images, caches=Layout(settings.cache_folder / name))
        if settings.cache == "gha":
            return Stores(images=images, caches=actions.connect(name, os.environ), lacking=actions.UNREACHED)
        return Stores(images=images, caches=images)

    @property
    def ledgers(self) -> Ledgers:
        return self._ledgers(self.stores.caches)

    def _ledgers(self, caches: Repository | None) -> Ledgers:
        name = self.settings.image or str(self.settings.root.resolve())
        return Ledgers(name, caches, recall.folder(os.environ))

    def times(self) -> dict[str, float]:
        """The seconds of stages: what flags say, and of the others what the ledger knows, the one here first."""
        times = survey.seconds(self.options.seconds, self.options.times, self.graph)
        for caches in (None, self.stores.caches):
            if not {stage.name for stage in self.graph.needed()} <= times.keys():
                times = survey.learned(self._ledgers(caches).read(self.access)) | times
        return times

    def scan(self, text: str) -> Scan:
        """What takes the fingerprints of this Dockerfile's stages."""
        platforms = self.settings.platforms
        each = [replace(self.settings, platforms=(platform,)) for platform in platforms] or [self.settings]
        graphs = [_parse(settings, text) for settings in each]
        memory = context.memory(self.settings.root / self.settings.context, os.environ)
        return Scan(graphs=graphs, settings=self.settings, override=self.override, memory=memory)


def here(options: argparse.Namespace) -> Job:
    """The job in this folder. Where no setting gives the image's name, GitHub's repository or the git remote does."""
    checkout = Checkout(Path())
    settings = flags.settings(options)
    _refuse_missing_context(settings)
    if settings.image is None:
        settings = settings.with_image(github.image(os.environ) or checkout.image())
    return Job(options, settings, checkout, github.run(os.environ))


def _refuse_missing_context(settings: Settings) -> None:
    if not settings.remote_context and not (settings.root / settings.context).is_dir():
        origin = settings.origins.get("context", "context")
        raise InputError(f"{origin}: there is no folder `{settings.context}`", "name the folder that COPY copies from")


def _parse(settings: Settings, text: str) -> StageGraph:
    return dockerfile.parse(
        text,
        path=settings.dockerfile,
        target=settings.target,
        target_origin=settings.origins.get("target"),
        args={**_epoch(), **settings.args},
        platforms=settings.platforms,
        contexts=settings.contexts,
    )


def _epoch() -> dict[str, str]:
    """What buildx makes a build argument of by itself (docker/buildx, build/build.go)."""
    return {name: os.environ[name] for name in ("SOURCE_DATE_EPOCH",) if name in os.environ}
