"""What a verb works on, taken from the repository, the environment and the flags."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from stagebake.cache.repository import CacheRepository
from stagebake.cache.scopes import Access, Trigger, access_for
from stagebake.cli.flags import read_settings
from stagebake.dockerfile.stages import ForcedStages, StageGraph, parse_dockerfile
from stagebake.dockerfile.warnings import force_warnings
from stagebake.errors import InputError
from stagebake.explain.ledger_store import LedgerStore
from stagebake.explain.stage_times import given_stage_times, ledger_stage_times
from stagebake.files import read_text, user_cache_folder
from stagebake.fingerprint.context import hash_memory_file
from stagebake.fingerprint.fingerprinter import Fingerprinter
from stagebake.generate.bake_file import OVERRIDE_FILE
from stagebake.project.git import GitCheckout
from stagebake.project.github_run import GithubRun, default_image, read_github_run
from stagebake.project.settings import Settings, misspelt_variables
from stagebake.stores.choose import BuildStores, choose_stores


@dataclass(frozen=True)
class Command:
    """One run of a verb: its flags, the settings they come to, the git checkout, and GitHub's run where it is one."""

    options: argparse.Namespace
    settings: Settings
    checkout: GitCheckout
    github_run: GithubRun | None

    @cached_property
    def dockerfile_text(self) -> str:
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
        return _parse(self.settings, self.dockerfile_text)

    @cached_property
    def override_text(self) -> str | None:
        """The text of the user's own bake file, which is laid over the generated one."""
        path = self.settings.root / OVERRIDE_FILE
        return read_text(path) if path.is_file() else None

    @cached_property
    def forced_stages(self) -> ForcedStages:
        """Return the stages that --no-cache forces: those it names, all for its bare form."""
        if self._forces_all:
            return self.graph.force_stages(self.graph.names)
        names = self.options.no_cache or ()
        return self.graph.force_stages(self.graph.find_stage(name, "--no-cache").name for name in names)

    @property
    def input_warnings(self) -> tuple[str, ...]:
        """What does less or more than it says: variables that set nothing, and --no-cache."""
        about_force = () if self._forces_all else force_warnings(self.graph, self.forced_stages)
        return (*misspelt_variables(os.environ), *about_force)

    @property
    def _forces_all(self) -> bool:
        """Return whether --no-cache is given in its bare form."""
        return bool(self.options.no_cache == [])

    @property
    def trigger(self) -> Trigger:
        return self.github_run.trigger if self.github_run else Trigger(branch=self.checkout.branch())

    @property
    def default_branch(self) -> str:
        return (self.github_run and self.github_run.default_branch) or self.checkout.default_branch()

    @cached_property
    def access(self) -> Access:
        """The scopes read and written. --scope names another branch's, but gives a stranger's code no more rights."""
        trigger, scope = self.trigger, self.options.scope
        chosen = Trigger(branch=scope) if scope and trigger.trusted else trigger
        return access_for(chosen, self.default_branch, push=self.options.push)

    @property
    def scope_name(self) -> str:
        """Whose caches are read first, as people call it."""
        return self.access.reads[0].name or self.default_branch

    @cached_property
    def build_stores(self) -> BuildStores:
        """Where the image and its caches lie, as the settings say."""
        return choose_stores(
            self.settings.cache,
            image=self.settings.image,
            local_name=self.settings.local_image,
            folder=self.settings.cache_folder,
            environment=os.environ,
        )

    @property
    def ledger_store(self) -> LedgerStore:
        return self._open_ledgers(self.build_stores.caches)

    def _open_ledgers(self, caches: CacheRepository | None) -> LedgerStore:
        name = self.settings.image or str(self.settings.root.resolve())
        return LedgerStore(name, caches, user_cache_folder(os.environ))

    def stage_times(self) -> dict[str, float]:
        """The seconds of stages: what flags say, and of the others what the ledger knows, the one here first."""
        times = given_stage_times(self.options.seconds, self.options.times, self.graph)
        for caches in (None, self.build_stores.caches):
            if not {stage.name for stage in self.graph.needed_stages()} <= times.keys():
                times = ledger_stage_times(self._open_ledgers(caches).read(self.access)) | times
        return times

    def create_fingerprinter(self, text: str) -> Fingerprinter:
        """What takes the fingerprints of this Dockerfile's stages."""
        platforms = self.settings.platforms
        each = [replace(self.settings, platforms=(platform,)) for platform in platforms] or [self.settings]
        graphs = [_parse(settings, text) for settings in each]
        memory = hash_memory_file(self.settings.root / self.settings.context, os.environ)
        return Fingerprinter(graphs=graphs, settings=self.settings, override=self.override_text, memory=memory)


def read_command(options: argparse.Namespace) -> Command:
    """The job in this folder. Where no setting gives the image's name, GitHub's repository or the git remote does."""
    checkout = GitCheckout(Path())
    settings = read_settings(options)
    _refuse_missing_context(settings)
    if settings.image is None:
        settings = settings.with_image(default_image(os.environ) or checkout.image())
    return Command(options, settings, checkout, read_github_run(os.environ))


def _refuse_missing_context(settings: Settings) -> None:
    if not settings.remote_context and not (settings.root / settings.context).is_dir():
        origin = settings.origins.get("context", "context")
        raise InputError(f"{origin}: there is no folder `{settings.context}`", "name the folder that COPY copies from")


def _parse(settings: Settings, text: str) -> StageGraph:
    return parse_dockerfile(
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
